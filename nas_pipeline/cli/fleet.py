"""`nas fleet`: signed releases for devices. The commands import their packages when they run, so that help is fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nas_pipeline.fleet.tuf.operations import ListChange

fleet = typer.Typer(no_args_is_help=True, help="Signed releases for devices, see docs/fleet.md.")

FleetRootOption = Annotated[Path, typer.Option("--root", help="Folder of the project.")]
FleetTargetOption = Annotated[str, typer.Option("--target", help="A target of params.yaml.")]
FleetReasonOption = Annotated[str, typer.Option("--why", help="Reason, for the journal.")]
KeyFoldersOption = Annotated[
    list[Path] | None, typer.Option("--keys", help="Additional folder with private keys. Can be repeated.")
]


@fleet.command()
def init(root: FleetRootOption = Path()) -> None:
    """Create the keys and the first signed files, or add new targets to an existing fleet."""
    from nas_pipeline.actions.fleet import init_fleet

    result = init_fleet(root.resolve())
    settings, names = result.repository.settings, ", ".join(result.target_names)
    if not result.created:
        typer.echo(f"the fleet exists already; new targets: {names or 'none'}")
        return
    typer.echo(f"fleet created: {settings.store}, targets {names}")
    typer.echo(f"Move the three keys of root in {settings.keys / 'offline'} to separate offline media and store them "
               "in separate locations. Two of them sign; this machine needs them only to replace a key.")
    if settings.approval:
        typer.echo(f"Move the approver's keys, {settings.keys}/*.approver-1.pem, to the approver's machine.")


@fleet.command()
def publish(
    target: FleetTargetOption,
    version: Annotated[str | None, typer.Option(help="Default: the candidate, else the champion.")] = None,
    why: FleetReasonOption = "", keys: KeyFoldersOption = None, root: FleetRootOption = Path(),
) -> None:
    """Publish a registered version to the first wave, if its files are unchanged and every gate is green."""
    from nas_pipeline.actions.fleet import publish_release

    result = publish_release(root.resolve(), target, version=version, why=why, key_folders=keys or ())
    text = (f"{result.model}: version {result.version} is release {result.counter}, for {result.share / 100:g} % of "
            f"{target}")
    if not result.live:
        typer.echo(f"{text}; {_waits(target)}")
    else:
        typer.echo(text if result.changed else f"{text} (published already)")


@fleet.command()
def approve(
    target: FleetTargetOption, why: FleetReasonOption = "", keys: KeyFoldersOption = None,
    root: FleetRootOption = Path(),
) -> None:
    """Sign the pending change of a target as the approver, and publish it."""
    from nas_pipeline.actions import fleet as actions

    entry = actions.approve(root.resolve(), target, why=why, key_folders=keys or ())
    typer.echo(f"{entry.model}: release {entry.counter} ({entry.kind}) is signed and published")


@fleet.command()
def rollback(
    target: FleetTargetOption, why: FleetReasonOption = "", keys: KeyFoldersOption = None,
    root: FleetRootOption = Path(),
) -> None:
    """Offer the last good release to every device, under a higher counter."""
    from nas_pipeline.actions import fleet as actions

    _echo_change(target, actions.rollback(root.resolve(), target, why=why, key_folders=keys or ()))


@fleet.command()
def stop(
    target: FleetTargetOption, why: FleetReasonOption = "", keys: KeyFoldersOption = None,
    root: FleetRootOption = Path(),
) -> None:
    """End a roll-out: devices that have the release keep it, no other device gets it."""
    from nas_pipeline.actions import fleet as actions

    _echo_change(target, actions.stop(root.resolve(), target, why=why, key_folders=keys or ()))


@fleet.command("rotate-key")
def rotate_key(
    role: Annotated[str, typer.Argument(help="root, targets, snapshot, timestamp, a target, or TARGET.approver.")],
    why: FleetReasonOption = "", keys: KeyFoldersOption = None, root: FleetRootOption = Path(),
) -> None:
    """Replace the key of a role. Devices follow, also those that were offline."""
    from nas_pipeline.actions import fleet as actions

    result = actions.rotate_key(root.resolve(), role, why=why, key_folders=keys or ())
    typer.echo(f"{role}: the new key is {result.keyid[:12]} at {result.uri}; the old key is no longer valid")
    if role == "root":
        typer.echo(f"Move the new key in {result.offline_folder} to an offline medium, and destroy the old one.")


@fleet.command()
def revoke(
    key: Annotated[str | None, typer.Option(help="Beginning of a key's id.")] = None,
    release: Annotated[str | None, typer.Option(help="Beginning of a file's sha256.")] = None,
    target: Annotated[str | None, typer.Option(help="With --release: the target of the file.")] = None,
    why: FleetReasonOption = "", keys: KeyFoldersOption = None, root: FleetRootOption = Path(),
) -> None:
    """Replace a stolen key, or withdraw a release from further devices."""
    from nas_pipeline.actions import fleet as actions
    from nas_pipeline.errors import ConfigError

    if key and not release:
        result = actions.revoke_key(root.resolve(), key, why=why, key_folders=keys or ())
        typer.echo(f"{result.role}: key {result.old_keyid[:12]} is no longer valid; the new key is {result.keyid[:12]}")
    elif release and target and not key:
        _echo_change(target, actions.withdraw(root.resolve(), target, release, why=why, key_folders=keys or ()))
    else:
        raise ConfigError("pass --key ID, or --release SHA256 with --target")


@fleet.command()
def resign(root: FleetRootOption = Path()) -> None:
    """Renew the timestamp, and other metadata past half of its lifetime. The deployment `resign` runs it daily."""
    from nas_pipeline.actions.fleet import renew_signatures

    typer.echo(f"renewed: {', '.join(renew_signatures(root.resolve()))}")


@fleet.command()
def restore(root: FleetRootOption = Path()) -> None:
    """Restore signed files that were changed or lost in the store."""
    from nas_pipeline.actions import fleet as actions

    typer.echo(f"{actions.restore(root.resolve())} files of the store were restored")


@fleet.command()
def status(keys: KeyFoldersOption = None, root: FleetRootOption = Path()) -> None:
    """Show versions, expiry dates, keys, releases and pending changes."""
    from nas_pipeline.actions.fleet import fleet_status

    result = fleet_status(root.resolve(), keys or ())
    for role in result.roles:
        keyids = ", ".join(f"{keyid[:12]}{'' if here else ' (not here)'}" for keyid, here in role.keys.items())
        typer.echo(f"{role.role:20} version {role.version:<5} {role.days_left:>4} days left   keys {keyids}")
    for entry in result.releases:
        release, wave = entry.release, entry.release.wave
        typer.echo(f"{release.model}: release {release.counter}, version {release.version}, file {entry.sha256[:12]}, "
                   f"wave {wave.index + 1} of {len(wave.shares)}: {wave.share / 100:g} %")
    for target in result.pending_targets:
        typer.echo(f"{target}: a change {_waits(target)}")
    for change in result.unfinished:
        typer.echo(f"interrupted: {change.kind} {change.model} {change.why} (run the command again)")
    typer.echo(f"journal: {result.journal_lines} lines, valid")


@fleet.command()
def live(
    target: FleetTargetOption,
    at: Annotated[str, typer.Option(help="2026-05-03, or 2026-05-03T12:00:00Z.")], root: FleetRootOption = Path(),
) -> None:
    """Show which version was live at a moment, on which devices, who published and who approved it."""
    from nas_pipeline.actions.fleet import live_releases

    model, result = live_releases(root.resolve(), target, at)
    if not result.releases:
        typer.echo(f"{model}: no release was offered at {at}")
    for release in result.releases:
        approved = f", approved by {', '.join(release.approved_by)}" if release.approved_by else ""
        typer.echo(f"{model} version {release.version} (release {release.counter}, file {release.sha256[:12]}), "
                   f"for {release.share / 100:g} % since {release.since}, by {release.who}{approved}: "
                   f"{release.why or 'no reason given'}")
        typer.echo(f"  reported by {len(release.devices)} devices: {', '.join(release.devices[:20]) or '-'}")
    if result.elsewhere:
        typer.echo(f"  {len(result.elsewhere)} devices ran another file: {', '.join(list(result.elsewhere)[:20])}")


@fleet.command("export-root")
def export_root(
    folder: Annotated[Path, typer.Argument(help="Folder for root.json and MODEL.floor.json.")],
    root: FleetRootOption = Path(),
) -> None:
    """Write the files for a device's image: the root of trust and the lowest accepted counters."""
    from nas_pipeline.actions import fleet as actions

    result = actions.export_root(root.resolve(), folder)
    typer.echo(f"{result.path}: version {result.version}")
    for path, counter in result.floors.items():
        typer.echo(f"{path}: nothing below release {counter}, nothing issued before {result.issued}")


@fleet.command()
def mirror(
    folder: Annotated[Path, typer.Argument(help="Destination, for example a removable medium.")],
    root: FleetRootOption = Path(),
) -> None:
    """Copy the files that devices download, for devices without a network."""
    from nas_pipeline.actions import fleet as actions

    result = actions.mirror(root.resolve(), folder)
    typer.echo(f"{folder}: {result.copied} files copied, {result.unchanged} unchanged")


def _waits(target: str) -> str:
    return f"waits for the approver: nas fleet approve --target {target}"


def _echo_change(target: str, change: ListChange) -> None:
    old = change.before.release
    if not change.live:
        typer.echo(f"{old.model}: the change {_waits(target)}")
    elif change.now is None:
        typer.echo(f"{old.model}: release {old.counter} (version {old.version}) is withdrawn; no release is offered")
    else:
        new = change.now.release
        typer.echo(f"{old.model}: release {old.counter} (version {old.version}) is replaced by release {new.counter} "
                   f"(version {new.version}), {new.wave.share / 100:g} %")
