"""The command line `nas`. Commands import the packages that they use when they run, so that `nas --help` is fast."""

from __future__ import annotations

import logging
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from nas_pipeline.cli.devices import add_to, registry
from nas_pipeline.cli.fleet import fleet
from nas_pipeline.cli.inspect import inspect_commands
from nas_pipeline.cli.options import ProjectRoot, open_profile_workspace
from nas_pipeline.cli.promotion import promotion_commands
from nas_pipeline.errors import NasError

app = typer.Typer(
    name="nas", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Find, train and deploy the best network for each device, from labelled images and the bounds of the devices.",
)


def main() -> None:
    """Entry point: reports a NasError or a full disk as one message and an exit status, without a traceback."""
    _quiet_libraries()
    try:
        app()
    except (NasError, OSError) as raised:
        from nas_pipeline.core.disk import storage_error

        error = raised if isinstance(raised, NasError) else storage_error(raised, Path.cwd())
        if error is None:
            raise
        word = "refused" if error.exit_code == 4 else "error"
        typer.secho(f"{word}: {error}", fg="red", err=True)
        sys.exit(error.exit_code)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new project; it is created if it does not exist.")],
    images: Annotated[Path, typer.Option(help="Folder with one sub-folder of images per class.")],
) -> None:
    """Create a project for a folder of images."""
    from nas_pipeline.config.project import create_project

    project = create_project(folder, images)
    survey, root_argument = project.survey, shlex.quote(str(folder))
    classes = ", ".join(f"{name} {count:,}" for name, count in list(survey.per_class.items())[:12])
    typer.echo(f"{survey.images:,} images in {len(survey.per_class)} classes: {classes}\n\nNext steps:\n"
               f"  1. read {folder / 'params.yaml'}: side, bounds of the target, min_accuracy\n"
               f"  2. nas pipeline --root {root_argument}\n"
               f"  3. open {folder / 'artifacts/validate/data_docs/index.html'}, and after the run "
               f"{folder / 'artifacts/retrain/label_candidates.html'}")


@app.command()
def run(
    stage: Annotated[str, typer.Argument(help="Name of a stage: ingest, ..., export@TARGET.")],
    root: ProjectRoot = Path(),
) -> None:
    """Run one stage without DVC. `dvc repro` and `nas pipeline` run this command."""
    _log_to_terminal()
    _end_with_reader()
    from nas_pipeline.stages.run import run_stage

    try:
        run_stage(stage, root, typer.echo)
    except KeyboardInterrupt:  # typer exits with this status too, but without a message
        typer.secho("interrupted; run the same command again to continue", fg="yellow", err=True)
        raise typer.Exit(130) from None


@app.command()
def pipeline(
    profile: Annotated[str, typer.Option(help="Name of an overlay in profiles/, or `default`.")] = "default",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override key.path=value; repeatable. Uses a separate workspace.")
    ] = None,
    root: ProjectRoot = Path(),
) -> None:
    """Run the pipeline: data, validation, search, retraining, export, verification, registration."""
    from nas_pipeline.cli.summary import print_summary
    from nas_pipeline.core.files import write_json

    root = root.resolve()
    workspace = open_profile_workspace(root, profile, overrides)
    command = [sys.executable, "-m", "flows.pipeline", "--root", str(workspace)]
    write_json(workspace / ".nas" / "command.json", {"profile": profile, "overrides": overrides or []})
    if (code := _child(command, cwd=root)) not in (0, 4):
        raise typer.Exit(code)
    print_summary(workspace)
    raise typer.Exit(code)


@app.command()
def report(
    profile: Annotated[str, typer.Option(help="Profile of the run.")] = "default", root: ProjectRoot = Path(),
) -> None:
    """Write the report of the last run (reports/index.html) again and print its summary."""
    from nas_pipeline.cli.summary import print_summary

    workspace = open_profile_workspace(root, profile)
    _write_report(workspace)
    print_summary(workspace)


@app.command()
def publish(root: ProjectRoot = Path()) -> None:
    """Publish finished artefacts to MLflow. A run that is published already is not duplicated."""
    root = root.resolve()
    code = _child([sys.executable, "-m", "flows.pipeline", "--root", str(root), "--publish-only"], cwd=root)
    raise typer.Exit(code)


@app.command("dvc-yaml")
def dvc_yaml(
    write: Annotated[Path | None, typer.Option(help="File to write; default: print to standard output.")] = None,
) -> None:
    """Generate dvc.yaml from the table of stages and the modules that they import."""
    from nas_pipeline.actions.dvc_yaml import dvc_yaml as generate

    if write is None:
        typer.echo(generate(), nl=False)
    else:
        write.write_text(generate(), encoding="utf-8")


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(help="Id of an MLflow run, or its run key.")],
    from_cache: Annotated[
        bool, typer.Option(help="Restore outputs from DVC's cache; otherwise every stage runs again.")
    ] = False,
    root: ProjectRoot = Path(),
) -> None:
    """Run a published run again in a worktree, from its commit, parameters and dvc.lock, and compare the digests."""
    root = root.resolve()
    command = [sys.executable, "-m", "flows.reproduce", run, "--root", str(root)]
    raise typer.Exit(_child(command + ["--from-cache"] * from_cache, cwd=root))


app.add_typer(promotion_commands)
app.add_typer(inspect_commands)
add_to(fleet)
app.add_typer(fleet, name="fleet")
app.add_typer(registry, name="registry")


def _write_report(workspace: Path) -> None:
    """Writes the report of a run and prints its path. An error is a warning: the run itself is not affected."""
    from nas_pipeline.actions.report import write_report

    try:
        typer.echo(f"Report: {write_report(workspace)}")
    except OSError as error:
        typer.secho(f"the report was not written: {error}", fg="yellow", err=True)


def _child(command: list[str], cwd: Path) -> int:
    """Runs a child process and returns its exit status. On Ctrl-C, which the child receives too, waits for its end."""
    process = subprocess.Popen(command, cwd=cwd)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _log_to_terminal() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger("nas_pipeline")
    root.handlers[:] = [handler]
    root.setLevel(os.environ.get("NAS_LOG_LEVEL", "INFO"))
    root.propagate = False


def _end_with_reader() -> None:
    """Terminates this process when the reader of its output exits: a killed pipeline leaves no stage running."""
    watched = select.poll()
    watched.register(1, 0)  # no event is requested; POLLERR, a pipe without a reader, is always reported

    def watch() -> None:
        if any(event & select.POLLERR for _, event in watched.poll()):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _quiet_libraries() -> None:
    """Disables the telemetry of all libraries, whatever the user's environment contains."""
    os.environ.update(
        PREFECT_SERVER_ANALYTICS_ENABLED="false", MLFLOW_DISABLE_TELEMETRY="true", DVC_NO_ANALYTICS="1",
        DO_NOT_TRACK="true",
    )
