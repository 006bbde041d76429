"""`nas`: the command line, and the only place that prints. Rooms are imported inside the commands: help is instant."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas_pipeline.errors import ConfigError, NasError

if TYPE_CHECKING:
    from nas_pipeline.core.genotype import Genotype

app = typer.Typer(
    name="nas", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="From labelled images and device bounds to the best network for each device.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Root = Annotated[Path, typer.Option(help="Folder of the project.")]
Channels = Annotated[int, typer.Option(min=1, help="Channels of an input image.")]
Size = Annotated[int, typer.Option(min=8, help="Height and width of an input image, in pixels.")]
Classes = Annotated[int, typer.Option(min=2, help="Number of classes.")]


def main() -> None:
    """Entry point: errors on purpose become one message and an exit code, never a traceback."""
    _quiet_libraries()
    try:
        app()
    except NasError as error:
        word = "refused" if error.exit_code == 4 else "error"
        typer.secho(f"{word}: {error}", fg="red", err=True)
        sys.exit(error.exit_code)


@app.command()
def run(stage: Annotated[str, typer.Argument(help="ingest, ..., export@TARGET")], root: Root = Path()) -> None:
    """Run one stage here, without DVC. `dvc repro` and the pipeline call this."""
    _log_to_terminal()
    _end_with_reader()
    from nas_pipeline.stages import run_stage

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
    from nas_pipeline.core.files import write_json
    from nas_pipeline.report.summary import print_summary

    root = root.resolve()
    workspace = _workspace(root, profile, tuple(overrides or ()))
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
    from nas_pipeline.report.summary import print_summary

    workspace = _workspace(root, profile, ())
    _page(workspace)
    print_summary(workspace)


@app.command()
def publish(root: Root = Path()) -> None:
    """Send the finished artefacts to MLflow again; a run that is there already is not doubled."""
    root = root.resolve()
    code = _child([sys.executable, "-m", "flows.pipeline", "--root", str(root), "--publish-only"], cwd=root)
    raise typer.Exit(code)


@app.command()
def show(
    genotype: Annotated[str, typer.Argument(help="A JSON file with a genotype, or the name of a hand-designed net.")],
    channels: Channels = 1, size: Size = 28, classes: Classes = 10, as_json: AsJson = False,
) -> None:
    """Parameters, MACs and a drawing of one network."""
    from nas_pipeline.core.records import InputSpec
    from nas_pipeline.space.cost import cost
    from nas_pipeline.space.drawing import layer_rows, render_text
    from nas_pipeline.space.load import build_network

    found, spec = _genotype(genotype), InputSpec(channels, size, size, classes)
    net = build_network(found, spec).eval()
    counted, rows = cost(net, spec), layer_rows(net, spec)
    if as_json:
        _print_json({"id": found.id, **found.to_json(), "input": _plain(spec), "params": counted.params,
                     "macs": counted.macs, "layers": [_plain(row) for row in rows]})
        return
    typer.echo(f"{found.space} {found.id}: {counted.params:,} parameters, {counted.macs:,} MACs\n{render_text(rows)}")


@app.command()
def catalog(as_json: AsJson = False) -> None:
    """Every plug-in of every kind, by name."""
    kinds = _catalogues()
    if as_json:
        _print_json(kinds)
        return
    for kind, names in kinds.items():
        typer.echo(f"{kind:15} {', '.join(names)}")


@app.command()
def space(
    name: Annotated[str, typer.Argument(help="One of the spaces in `nas catalog`.")],
    samples: Annotated[int, typer.Option(min=1, help="Random members to cost.")] = 100,
    seed: int = 0, channels: Channels = 1, size: Size = 28, classes: Classes = 10, as_json: AsJson = False,
) -> None:
    """Size of a space, and what its members cost."""
    from nas_pipeline.core.records import InputSpec
    from nas_pipeline.space import SPACES
    from nas_pipeline.space.cost import sample_costs
    from nas_pipeline.space.enumeration import size as size_of

    member = SPACES.make(name)
    spec = InputSpec(channels, size, size, classes)
    found: dict[str, Any] = {"name": name, "version": member.version, "size": size_of(member), "input": _plain(spec),
             "samples": samples, **sample_costs(member, spec, samples, seed)}
    if as_json:
        _print_json(found)
        return
    typer.echo(f"{name}: {found['size']:,} architectures; of {samples} random ones (min / median / max):")
    for metric in ("macs", "params"):
        low, middle, high = (found[metric][key] for key in ("min", "median", "max"))
        typer.echo(f"  {metric:7} {low:,.0f} / {middle:,.0f} / {high:,.0f}")


def _workspace(root: Path, profile: str, overrides: tuple[str, ...]) -> Path:
    if profile == "default" and not overrides:
        return root
    from nas_pipeline.core.files import sha256_text
    from nas_pipeline.params import compose
    from nas_pipeline.workspace import prepare_workspace

    mark = "-" + sha256_text(json.dumps(overrides))[:8] if overrides else ""
    return prepare_workspace(root, profile + mark, compose(root, profile, overrides))


def _page(workspace: Path) -> None:
    """Write the page of a run, finished or not, and say where; that it cannot be written is no failure of the run."""
    from nas_pipeline.run_report import write_report

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


def _genotype(name: str) -> Genotype:
    from nas_pipeline.space.baselines import BASELINES
    from nas_pipeline.space.load import genotype_from_file

    if name in BASELINES:
        return BASELINES[name]
    if not Path(name).exists():
        raise ConfigError(f"{name} is neither a file nor a hand-designed network; those are: {', '.join(BASELINES)}")
    return genotype_from_file(Path(name))


def _catalogues() -> dict[str, list[str]]:
    from nas_pipeline.data import SOURCES
    from nas_pipeline.latency import PROBES
    from nas_pipeline.search import EVALUATORS, STRATEGIES
    from nas_pipeline.search.early_stopping import EARLY_STOPPING
    from nas_pipeline.space import SPACES
    from nas_pipeline.space.baselines import BASELINES
    from nas_pipeline.space.ops import OPS
    from nas_pipeline.train.optimiser import OPTIMISERS

    return {
        "source": list(SOURCES), "space": list(SPACES), "op": list(OPS), "baseline": list(BASELINES),
        "strategy": list(STRATEGIES), "evaluator": list(EVALUATORS), "early_stopping": list(EARLY_STOPPING),
        "optimiser": list(OPTIMISERS), "probe": list(PROBES),
    }


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


def _plain(record: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(record)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))
