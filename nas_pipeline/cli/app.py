"""`nas`: the command line, and the only place that prints. Rooms are imported inside the commands: help is instant."""

from __future__ import annotations

import logging
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nas_pipeline.cli.devices import add_to, registry
from nas_pipeline.cli.fleet import fleet
from nas_pipeline.cli.inspect import AsJson, commands, print_json
from nas_pipeline.errors import NasError

app = typer.Typer(
    name="nas", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="From labelled images and device bounds to the best network for each device.",
)

Root = Annotated[Path, typer.Option(help="Folder of the project.")]
Target = Annotated[str, typer.Option(help="A target of params.yaml.")]
Why = Annotated[str, typer.Option(help="For the history.")]
Profile = Annotated[str, typer.Option(help="Whose workspace.")]


def main() -> None:
    """Entry point: errors on purpose become one message and an exit code, never a traceback."""
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
    folder: Annotated[Path, typer.Argument(help="Where the project goes; it is made if it is not there.")],
    images: Annotated[Path, typer.Option(help="A folder with one sub-folder of images per class.")],
) -> None:
    """A ready project for a folder of your own images."""
    from nas_pipeline.config.project import create_project

    project = create_project(folder, images)
    found, place = project.found, shlex.quote(str(folder))
    classes = ", ".join(f"{name} {count:,}" for name, count in list(found.per_class.items())[:12])
    typer.echo(f"{found.images:,} images in {len(found.per_class)} classes: {classes}\n\nWhat to do next:\n"
               f"  1. read {folder / 'params.yaml'}: side, bounds of the target, min_accuracy\n"
               f"  2. nas pipeline --root {place}\n"
               f"  3. open {folder / 'artifacts/validate/data_docs/index.html'}, and after the run "
               f"{folder / 'artifacts/retrain/label_candidates.html'}")


@app.command()
def run(stage: Annotated[str, typer.Argument(help="ingest, ..., export@TARGET")], root: Root = Path()) -> None:
    """Run one stage here, without DVC. `dvc repro` and the pipeline call this."""
    _log_to_terminal()
    _end_with_reader()
    from nas_pipeline.stages.table import run_stage

    try:
        run_stage(stage, root, typer.echo)
    except KeyboardInterrupt:  # typer would end with this status too, but without a word
        typer.secho("interrupted; the same command goes on where it stopped", fg="yellow", err=True)
        raise typer.Exit(130) from None


@app.command()
def pipeline(
    profile: Annotated[str, typer.Option(help="default, or the name of an overlay in profiles/.")] = "default",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key.path=value; marks the run as not the committed one.")
    ] = None,
    root: Root = Path(),
) -> None:
    """Run everything: data, validation, search, retraining, export, verification, registry."""
    from nas_pipeline.cli.summary import print_summary
    from nas_pipeline.core.files import write_json

    root = root.resolve()
    workspace = _open_workspace(root, profile, overrides or ())
    command = [sys.executable, "-m", "flows.pipeline", "--root", str(workspace)]
    write_json(workspace / ".nas" / "command.json", {"profile": profile, "overrides": overrides or []})
    if (code := _child(command, cwd=root)) not in (0, 4):
        raise typer.Exit(code)
    print_summary(workspace)
    raise typer.Exit(code)


@app.command()
def report(
    profile: Annotated[str, typer.Option(help="Whose last run.")] = "default", root: Root = Path(),
) -> None:
    """Write the page of the last run again (reports/index.html) and show its summary."""
    from nas_pipeline.cli.summary import print_summary

    workspace = _open_workspace(root, profile)
    _page(workspace)
    print_summary(workspace)


@app.command()
def publish(root: Root = Path()) -> None:
    """Send the finished artefacts to MLflow again; a run that is there already is not doubled."""
    root = root.resolve()
    code = _child([sys.executable, "-m", "flows.pipeline", "--root", str(root), "--publish-only"], cwd=root)
    raise typer.Exit(code)


@app.command()
def promote(
    target: Target, version: Annotated[str | None, typer.Option(help="Default: the candidate.")] = None,
    why: Why = "", profile: Profile = "default", root: Root = Path(),
) -> None:
    """Make a version champion, if every gate of mlflow/promotion.yaml is green."""
    from nas_pipeline.actions.promotion import promote_lines

    for line in promote_lines(_open_workspace(root.resolve(), profile), target, version, why):
        typer.echo(line)


@app.command()
def rollback(target: Target, why: Why = "", profile: Profile = "default", root: Root = Path()) -> None:
    """Make the champion before this one champion again."""
    from nas_pipeline.actions.promotion import rollback_line

    typer.echo(rollback_line(_open_workspace(root.resolve(), profile), target, why))


@app.command()
def history(target: Target, profile: Profile = "default", as_json: AsJson = False, root: Root = Path()) -> None:
    """Promotions, refusals and rollbacks: who, when, why, with which evidence."""
    from nas_pipeline.actions.promotion import history_lines, history_rows

    workspace = _open_workspace(root.resolve(), profile)
    if as_json:
        print_json(history_rows(workspace, target))
        return
    for line in history_lines(workspace, target):
        typer.echo(line)


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(help="Id of a run in MLflow, or its run key.")],
    from_cache: Annotated[bool, typer.Option(help="Restore what DVC's cache has; else all is made anew.")] = False,
    root: Root = Path(),
) -> None:
    """Make a published run again from MLflow (commit, parameters, dvc.lock) in a worktree, and compare digests."""
    root = root.resolve()
    command = [sys.executable, "-m", "flows.reproduce", run, "--root", str(root)]
    raise typer.Exit(_child(command + ["--from-cache"] * from_cache, cwd=root))


app.add_typer(commands)
add_to(fleet)
app.add_typer(fleet, name="fleet")
app.add_typer(registry, name="registry")


def _open_workspace(root: Path, profile: str, overrides: Sequence[str] = ()) -> Path:
    from nas_pipeline.config.workspace import open_workspace

    return open_workspace(root, profile, overrides)


def _page(workspace: Path) -> None:
    """Write the page of a run, finished or not, and say where; that it cannot be written is no failure of the run."""
    from nas_pipeline.actions.report import write_report

    try:
        typer.echo(f"Report: {write_report(workspace)}")
    except OSError as error:
        typer.secho(f"no report: {error}", fg="yellow", err=True)


def _child(command: list[str], cwd: Path) -> int:
    """Run a child of ours; on Ctrl-C it gets the signal too, and the time to end in order."""
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
    """End when whoever reads our output is gone: of a pipeline that was killed, no stage stays to be in the way."""
    watched = select.poll()
    watched.register(1, 0)  # nothing is asked of standard output, but errors are told unasked: a pipe without a reader

    def watch() -> None:
        if any(event & select.POLLERR for _, event in watched.poll()):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _quiet_libraries() -> None:
    """Nothing of ours phones home, whatever the user's environment says."""
    os.environ.update(
        PREFECT_SERVER_ANALYTICS_ENABLED="false", MLFLOW_DISABLE_TELEMETRY="true", DVC_NO_ANALYTICS="1",
        DO_NOT_TRACK="true",
    )
