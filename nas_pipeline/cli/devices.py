"""`nas fleet` for devices and roll-outs, and `nas registry`. Packages are imported in the commands: help is instant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nas_pipeline.actions.devices import EnrolmentResult
    from nas_pipeline.fleet.reports.intake import EnrolledDevice

registry = typer.Typer(no_args_is_help=True, help="The registry as a view of the signed releases: docs/rollout.md.")
devices_app = typer.Typer()

Root = Annotated[Path, typer.Option(help="Folder of the project.")]
TargetFilter = Annotated[str | None, typer.Option("--target", help="A target of devices; default: all.")]


def add_to(app: typer.Typer) -> None:
    """Adds these commands to `nas fleet`."""
    app.registered_commands += devices_app.registered_commands


@devices_app.command()
def enrol(
    file: Annotated[str, typer.Argument(help="File with lines printed by `nas-agent init`; - is standard input.")],
    root: Root = Path(),
) -> None:
    """Enrol devices by their public keys."""
    from nas_pipeline.actions.devices import enrol_devices

    _echo(map(enrolment_line, enrol_devices(root.resolve(), file)))


@devices_app.command()
def retire(device: str, root: Root = Path()) -> None:
    """Reject all further reports of a device, and count it in no wave."""
    from nas_pipeline.actions.devices import retire_device

    retire_device(root.resolve(), device)
    typer.echo(f"{device} is retired: its reports are rejected, and no wave counts it")


@devices_app.command()
def devices(
    target: TargetFilter = None, retired: Annotated[bool, typer.Option(help="Include retired devices.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False, root: Root = Path(),
) -> None:
    """List enrolled devices: last report, highest release, anomalies."""
    from nas_pipeline.actions.devices import list_devices

    listed = list_devices(root.resolve(), target, retired=retired)
    if as_json:
        typer.echo(json.dumps([device_json(device) for device in listed], indent=1))
    else:
        _echo(line for device in listed for line in device_lines(device))


@devices_app.command()
def receive(
    host: Annotated[str, typer.Option(help="Address to listen on; use a proxy for TLS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8780, root: Root = Path(),
) -> None:
    """Receive signed reports over HTTP: POST /reports."""
    from nas_pipeline.actions.devices import receive_reports

    receive_reports(root.resolve(), host, port, lambda: typer.echo(
        f"reports are received at http://{host}:{port}/reports; press Ctrl-C to stop"))


@devices_app.command()
def collect(
    drop: Annotated[str | None, typer.Option(help="A folder, or s3://BUCKET/PREFIX; default: fleet.drop.")] = None,
    keep_days: Annotated[int | None, typer.Option(min=1, help="Delete older reports from the database.")] = None,
    root: Root = Path(),
) -> None:
    """Collect reports from a drop. Rejected files are quarantined with the reason."""
    from nas_pipeline.actions.devices import collect_reports, delete_old_reports

    result = collect_reports(root.resolve(), drop)
    if result is None:
        typer.echo("there is no drop: set fleet.drop in params.yaml, or use --drop")
    else:
        more = "; there are more, run the command again" if result.incomplete else ""
        typer.echo(f"{result.accepted} reports accepted, {len(result.rejected)} quarantined{more}")
        _echo(f"  {line}" for line in result.rejected)
    if keep_days is not None:
        typer.echo(f"{delete_old_reports(root.resolve(), keep_days)} reports older than {keep_days} days deleted")


@devices_app.command()
def rollout(root: Root = Path()) -> None:
    """Take one step of every roll-out: widen, stop and roll back, or wait. The deployment `rollout` runs it too."""
    from nas_pipeline.actions.devices import advance_rollouts
    from nas_pipeline.actions.identity import current_user
    from nas_pipeline.actions.rollout_text import rollout_line

    result = advance_rollouts(root.resolve(), who=current_user())
    for progress in result.progress:
        typer.echo(rollout_line(progress))
        _echo(f"  {line}" for line in progress.registry)
    result.raise_failures()


@devices_app.command()
def page(root: Root = Path()) -> None:
    """Write reports/fleet.html: devices, versions, waves, failures."""
    from nas_pipeline.actions.devices import write_fleet_page

    typer.echo(f"Fleet: {write_fleet_page(root.resolve())}")


@devices_app.command("reconcile")
def reconcile_command(root: Root = Path()) -> None:
    """Update the registry's aliases to match the signed releases, and complete interrupted operations."""
    from nas_pipeline.actions.devices import reconcile_registry

    _echo(reconcile_registry(root.resolve()) or ["nothing to repair"])


@registry.command("rebuild")
def rebuild_command(root: Root = Path()) -> None:
    """Rebuild MLflow's registry from bundles, signed releases and journal."""
    from nas_pipeline.actions.devices import rebuild_registry

    _echo(rebuild_registry(root.resolve()) or ["nothing is missing"])


@registry.callback()
def _registry() -> None:
    """Typer omits the name of a single command unless the group has a callback."""


def enrolment_line(result: EnrolmentResult) -> str:
    """Returns the line for one enrolment."""
    enrolment = result.enrolment
    state = "enrolled" if result.changed else "was enrolled"
    return f"{enrolment.device}: {state} for {enrolment.target}, key {enrolment.keyid[:12]}"


def device_json(device: EnrolledDevice) -> dict[str, object]:
    """Returns one enrolled device as plain data, for programs."""
    return {
        "device": device.device, "target": device.target, "enrolled": device.enrolled.isoformat(),
        "seen": device.seen.isoformat() if device.seen else None, "seq": device.seq, "counter": device.counter,
        "retired": device.retired, "flags": list(device.flags),
    }


def device_lines(device: EnrolledDevice) -> Iterator[str]:
    """Yields the lines for one enrolled device, with its flags."""
    seen = device.seen.isoformat()[:16] if device.seen else "never"
    yield (f"{device.device:24} {device.target:16} release {device.counter:<6} seen {seen}"
           f"{' retired' if device.retired else ''}")
    yield from (f"  ! {flag}" for flag in device.flags)


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
