"""`nas fleet` for devices and roll-outs, and `nas registry`. Rooms are imported in the commands: help is instant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

registry = typer.Typer(no_args_is_help=True, help="The registry as a view of the signed releases: docs/rollout.md.")
devices_app = typer.Typer()

Root = Annotated[Path, typer.Option(help="Folder of the project.")]
Family = Annotated[str | None, typer.Option("--target", help="A target of devices; default: all.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to `nas fleet`."""
    app.registered_commands += devices_app.registered_commands


@devices_app.command()
def enrol(
    file: Annotated[str, typer.Argument(help="Lines that `nas-agent init` printed; - is standard input.")],
    root: Root = Path(),
) -> None:
    """Know devices by their public keys from now on."""
    from nas_pipeline.actions.devices import enrol_lines

    _say(enrol_lines(root.resolve(), file))


@devices_app.command()
def retire(device: str, root: Root = Path()) -> None:
    """Take nothing from a device any more, and let no wave wait for it."""
    from nas_pipeline.actions.devices import retire_line

    typer.echo(retire_line(root.resolve(), device))


@devices_app.command()
def devices(
    target: Family = None, retired: Annotated[bool, typer.Option(help="Those too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False, root: Root = Path(),
) -> None:
    """Enrolled devices: when they were last heard of, with which release, and what is odd about them."""
    from nas_pipeline.actions.devices import as_json as json_of
    from nas_pipeline.actions.devices import devices_lines, devices_rows

    if as_json:
        typer.echo(json_of(devices_rows(root.resolve(), target, retired=retired)))
    else:
        _say(devices_lines(root.resolve(), target, retired=retired))


@devices_app.command()
def receive(
    host: Annotated[str, typer.Option(help="Loopback; a proxy in front of it does TLS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8780, root: Root = Path(),
) -> None:
    """Take signed reports over HTTP: POST /reports."""
    from nas_pipeline.actions.devices import receive as serve

    serve(root.resolve(), host, port, typer.echo)


@devices_app.command()
def collect(
    drop: Annotated[str | None, typer.Option(help="A folder, or s3://BUCKET/PREFIX; default: fleet.drop.")] = None,
    keep_days: Annotated[int | None, typer.Option(min=1, help="Forget reports that are older.")] = None,
    root: Root = Path(),
) -> None:
    """Take reports from a drop; bad ones are put aside with the reason."""
    from nas_pipeline.actions.devices import collect_lines

    _say(collect_lines(root.resolve(), drop, keep_days))


@devices_app.command()
def rollout(root: Root = Path()) -> None:
    """One step of every roll-out: widen, stop and go back, or wait. Every 15 minutes, by the deployment `rollout`."""
    from nas_pipeline.actions.devices import rollout_lines

    _say(rollout_lines(root.resolve()))


@devices_app.command()
def page(root: Root = Path()) -> None:
    """Write reports/fleet.html: devices, versions, waves, failures."""
    from nas_pipeline.actions.devices import page_line

    typer.echo(page_line(root.resolve()))


@devices_app.command("reconcile")
def reconcile_command(root: Root = Path()) -> None:
    """Bring the registry's aliases in line with what is signed, and end what a crash left half done."""
    from nas_pipeline.actions.devices import reconcile_lines

    _say(reconcile_lines(root.resolve()))


@registry.command("rebuild")
def rebuild_command(root: Root = Path()) -> None:
    """Make MLflow's registry again from bundles, signed releases and journal."""
    from nas_pipeline.actions.devices import rebuild_lines

    _say(rebuild_lines(root.resolve()))


@registry.callback()
def _registry() -> None:
    """With one command alone, typer would take its name away."""


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
