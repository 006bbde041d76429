"""`nas fleet`: signed releases for devices. Rooms are imported inside the commands: help is instant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

fleet = typer.Typer(no_args_is_help=True, help="Signed releases for devices: docs/fleet.md tells the whole story.")

Root = Annotated[Path, typer.Option(help="Folder of the project.")]
Target = Annotated[str, typer.Option(help="A target of params.yaml: a target of devices.")]
Why = Annotated[str, typer.Option(help="For the journal.")]
Keys = Annotated[list[Path] | None, typer.Option(help="Another folder with private keys: a stick. May be given twice.")]


@fleet.command()
def init(root: Root = Path()) -> None:
    """Make keys and the first signed files; again, add the targets that are new."""
    from nas_pipeline.actions.fleet import init_lines

    _say(init_lines(root.resolve()))


@fleet.command()
def publish(
    target: Target, version: Annotated[str | None, typer.Option(help="Default: candidate, else champion.")] = None,
    why: Why = "", keys: Keys = None, root: Root = Path(),
) -> None:
    """Release a registered version to the first wave, if its seal holds and every gate is green."""
    from nas_pipeline.actions.fleet import publish_lines

    _say(publish_lines(root.resolve(), target, version, why, keys or ()))


@fleet.command()
def approve(target: Target, why: Why = "", keys: Keys = None, root: Root = Path()) -> None:
    """Give the second signature to what waits for it."""
    from nas_pipeline.actions.fleet import approve_line

    typer.echo(approve_line(root.resolve(), target, why, keys or ()))


@fleet.command()
def rollback(target: Target, why: Why = "", keys: Keys = None, root: Root = Path()) -> None:
    """The last good release for everyone, under a higher counter."""
    from nas_pipeline.actions.fleet import rollback_line

    typer.echo(rollback_line(root.resolve(), target, why, keys or ()))


@fleet.command()
def stop(target: Target, why: Why = "", keys: Keys = None, root: Root = Path()) -> None:
    """End a roll-out where it is: who has the release keeps it, nobody else gets it."""
    from nas_pipeline.actions.fleet import stop_line

    typer.echo(stop_line(root.resolve(), target, why, keys or ()))


@fleet.command("rotate-key")
def rotate_key(
    role: Annotated[str, typer.Argument(help="root, targets, snapshot, timestamp, a target, or TARGET.approver.")],
    why: Why = "", keys: Keys = None, root: Root = Path(),
) -> None:
    """A new key for a role. Devices follow, also those that were away."""
    from nas_pipeline.actions.fleet import rotate_lines

    _say(rotate_lines(root.resolve(), role, why, keys or ()))


@fleet.command()
def revoke(
    key: Annotated[str | None, typer.Option(help="The beginning of a key's id.")] = None,
    release: Annotated[str | None, typer.Option(help="The beginning of a file's sha256.")] = None,
    target: Annotated[str | None, typer.Option(help="With --release: whose.")] = None,
    why: Why = "", keys: Keys = None, root: Root = Path(),
) -> None:
    """Take out a key that was stolen, or a release that nobody may get any more."""
    from nas_pipeline.actions.fleet import revoke_line, withdraw_line
    from nas_pipeline.errors import ConfigError

    if key and not release:
        typer.echo(revoke_line(root.resolve(), key, why, keys or ()))
    elif release and target and not key:
        typer.echo(withdraw_line(root.resolve(), target, release, why, keys or ()))
    else:
        raise ConfigError("give --key ID, or --release SHA256 with --target")


@fleet.command()
def resign(root: Root = Path()) -> None:
    """Date the timestamp anew, and what else is past half of its time. Daily, by the deployment `resign`."""
    from nas_pipeline.actions.fleet import resign_line

    typer.echo(resign_line(root.resolve()))


@fleet.command()
def restore(root: Root = Path()) -> None:
    """Put signed files back that somebody changed or lost in the store."""
    from nas_pipeline.actions.fleet import restore_line

    typer.echo(restore_line(root.resolve()))


@fleet.command()
def status(keys: Keys = None, root: Root = Path()) -> None:
    """Versions, expiries, waves, who may sign, what waits."""
    from nas_pipeline.actions.fleet import status_lines

    _say(status_lines(root.resolve(), keys or ()))


@fleet.command()
def live(
    target: Target, at: Annotated[str, typer.Option(help="2026-05-03, or 2026-05-03T12:00:00Z.")], root: Root = Path(),
) -> None:
    """Which version was live at a moment, on which devices, who published and who approved it."""
    from nas_pipeline.actions.fleet import live_lines

    _say(live_lines(root.resolve(), target, at))


@fleet.command("export-root")
def export_root(
    folder: Annotated[Path, typer.Argument(help="Where root.json and MODEL.floor.json go.")], root: Root = Path(),
) -> None:
    """Write what a device's image is given."""
    from nas_pipeline.actions.fleet import export_root_lines

    _say(export_root_lines(root.resolve(), folder))


@fleet.command()
def mirror(folder: Annotated[Path, typer.Argument(help="A stick.")], root: Root = Path()) -> None:
    """Copy what devices fetch, for those without a network."""
    from nas_pipeline.actions.fleet import mirror_line

    typer.echo(mirror_line(root.resolve(), folder))


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
