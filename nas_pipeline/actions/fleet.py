"""The operations of `nas fleet`: each opens the fleet of a workspace, changes or reads it, and returns a record."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas_pipeline.actions.identity import current_user
from nas_pipeline.config.params import load_params
from nas_pipeline.config.schema.params import Params
from nas_pipeline.core.files import atomic_path, write_json
from nas_pipeline.errors import ConfigError, FleetError
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.rollout.live import Live, Seen, live_at
from nas_pipeline.fleet.tuf import create_fleet, operations, pending, publish, rotation
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, settled
from nas_pipeline.fleet.tuf.repository import ANCHOR, Repository
from nas_pipeline.fleet.tuf.roles import ISSUED
from nas_pipeline.fleet.tuf.settings import FleetSettings, stamp
from nas_pipeline.fleet.tuf.store import FolderStore

FOLDER = "fleet"
"""The publisher's folder in a workspace."""
REPORTS_URL = "NAS_REPORTS_URL"
"""Environment variable: database of the device reports. Overrides `fleet.reports` of params.yaml."""
_END_OF_DAY = "T23:59:59Z"


@dataclass(frozen=True, slots=True)
class ReplacedKey:
    """A key that was replaced, and the new one."""

    role: str
    old_keyid: str
    """The argument of `revoke_key`; empty after `rotate_key`."""
    keyid: str
    uri: str
    """Address of the new private key."""
    offline_folder: Path
    """Folder of the keys of root, which belong on offline media."""


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """The published metadata of one role."""

    role: str
    version: int
    days_left: int
    keys: dict[str, bool]
    """Key id -> whether its private key is available here."""


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The state of a fleet."""

    roles: tuple[RoleStatus, ...]
    releases: tuple[ReleaseEntry, ...]
    pending_targets: tuple[str, ...]
    """Targets with a change that waits for the approver."""
    unfinished: tuple[JournalEntry, ...]
    """Changes that were interrupted."""
    journal_lines: int


@dataclass(frozen=True, slots=True)
class ExportedRoot:
    """The files for a device's image."""

    path: Path
    """Of root.json."""
    version: int
    issued: str
    """Devices accept no timestamp that was issued earlier."""
    floors: dict[Path, int]
    """MODEL.floor.json -> lowest counter that devices accept."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The result of `mirror`."""

    copied: int
    unchanged: int


def fleet_settings(root: Path, params: Params) -> FleetSettings:
    """Returns the settings of the section `fleet` of params.yaml; relative folders are below `root`.

    Raises:
        ConfigError: There is no such section.
    """
    if params.fleet is None:
        raise ConfigError(f"{root / 'params.yaml'} has no section `fleet`: copy it from the repository's params.yaml")
    section = params.fleet
    return FleetSettings(
        store=section.store if "://" in section.store else str(root / section.store), folder=root / FOLDER,
        keys=root / section.keys, target_names=tuple(params.targets), expiry_days=section.expiry_days.model_dump(),
        waves=tuple(section.waves), approval=section.approval,
        hardware={target: tuple(tags) for target, tags in section.hardware.items()}, memory_mb=section.memory_mb,
        rollout=section.rollout,
    )


def has_fleet(root: Path) -> bool:
    """Returns whether the workspace has a fleet."""
    return (root / FOLDER / ANCHOR).is_file()


def open_fleet(root: Path, key_folders: Sequence[Path] = ()) -> Repository:
    """Opens the fleet of the workspace at `root`.

    Args:
        root: The workspace.
        key_folders: Additional folders with private keys.

    Raises:
        ConfigError: params.yaml has no section `fleet`.
        FleetError: The workspace has no fleet.
    """
    return Repository.open(fleet_settings(root, load_params(root)), key_folders=key_folders)


@contextlib.contextmanager
def open_intake(root: Path) -> Iterator[Intake]:
    """Opens the database of device reports of a workspace; closes it at the end of the block.

    Raises:
        ConfigError: params.yaml has no section `fleet`.
    """
    params = load_params(root)
    fleet_settings(root, params)  # raises if there is no section `fleet`
    address = os.environ.get(REPORTS_URL) or (params.fleet.reports if params.fleet else "")
    intake = Intake(address if "://" in address else root / address)
    try:
        yield intake
    finally:
        intake.close()


def init_fleet(root: Path) -> create_fleet.CreatedFleet:
    """Creates the fleet of a workspace, or adds the new targets of params.yaml."""
    return create_fleet.create_fleet(fleet_settings(root, load_params(root)), who=current_user())


def publish_release(
    root: Path, target: str, *, version: str | None = None, why: str = "", key_folders: Sequence[Path] = ()
) -> publish.PublishedRelease:
    """Publishes a registered version to the first wave; see `fleet.tuf.publish`."""
    repository = open_fleet(root, key_folders)
    return publish.publish(repository, root, target, who=current_user(), why=why, version=version)


def approve(root: Path, target: str, *, why: str = "", key_folders: Sequence[Path] = ()) -> JournalEntry:
    """Signs the pending change of a target as the approver; returns the journal entry of the change."""
    return open_fleet(root, key_folders).approve(target, current_user(), why)


def rollback(
    root: Path, target: str, *, why: str = "", key_folders: Sequence[Path] = ()
) -> operations.ListChange:
    """Offers the last good release to every device."""
    repository = open_fleet(root, key_folders)
    return operations.rollback(repository, target, only_model(repository, target), who=current_user(), why=why)


def stop(root: Path, target: str, *, why: str = "", key_folders: Sequence[Path] = ()) -> operations.ListChange:
    """Ends the roll-out of a target."""
    repository = open_fleet(root, key_folders)
    return operations.stop(repository, target, only_model(repository, target), who=current_user(), why=why)


def withdraw(
    root: Path, target: str, sha256: str, *, why: str = "", key_folders: Sequence[Path] = ()
) -> operations.ListChange:
    """Removes the file whose digest begins with `sha256` from the release list of a target."""
    repository = open_fleet(root, key_folders)
    return operations.withdraw(repository, target, only_model(repository, target), sha256, who=current_user(), why=why)


def rotate_key(root: Path, role: str, *, why: str = "", key_folders: Sequence[Path] = ()) -> ReplacedKey:
    """Replaces the key of a role."""
    repository = open_fleet(root, key_folders)
    key = rotation.rotate(repository, role, who=current_user(), why=why)
    return _replaced(repository, role, "", key.keyid)


def revoke_key(root: Path, keyid: str, *, why: str = "", key_folders: Sequence[Path] = ()) -> ReplacedKey:
    """Replaces the key whose id begins with `keyid`."""
    repository = open_fleet(root, key_folders)
    role, key = rotation.revoke(repository, keyid, who=current_user(), why=why)
    return _replaced(repository, role, keyid, key.keyid)


def renew_signatures(root: Path) -> list[str]:
    """Renews the timestamp and other metadata past half of its lifetime; returns the roles."""
    return rotation.resign(open_fleet(root), who=current_user())


def restore(root: Path) -> int:
    """Restores the store's metadata from the local copies; returns the number of files that differed."""
    return rotation.restore(open_fleet(root))


def fleet_status(root: Path, key_folders: Sequence[Path] = ()) -> FleetStatus:
    """Returns versions, expiry dates, keys, releases, pending and interrupted changes; verifies the journal."""
    repository = open_fleet(root, key_folders)
    trusted, ring = repository.trusted(), repository.keys
    keyids = rotation.signing_keys(trusted)
    signed = {"root": trusted.root.signed, "targets": trusted.targets.signed, "snapshot": trusted.snapshot.signed,
              "timestamp": trusted.timestamp.signed}
    signed |= {target: metadata.signed for target, metadata in trusted.delegated.items()}
    return FleetStatus(
        roles=tuple(
            RoleStatus(role, metadata.version, (metadata.expires - repository.clock()).days,
                       {keyid: ring.signer(keyid) is not None for keyid in keyids[role]})
            for role, metadata in signed.items()
        ),
        releases=tuple(entry for target, model in repository.models()
                       for entry in repository.release_list(target, model)),
        pending_targets=tuple(pending.pending_targets(repository.settings.folder)),
        unfinished=repository.journal.unfinished(),
        journal_lines=repository.verify_journal(trusted),
    )


def export_root(root: Path, folder: Path) -> ExportedRoot:
    """Writes the files for a device's image: root.json, and MODEL.floor.json with the lowest accepted counter."""
    repository = open_fleet(root)
    trusted = repository.trusted()
    with atomic_path(folder / ANCHOR) as temporary:
        temporary.write_bytes((repository.settings.folder / ANCHOR).read_bytes())
    issued = str(trusted.timestamp.signed.unrecognized_fields[ISSUED])
    floors: dict[Path, int] = {}
    for target, model in repository.models():
        # The floor is a release for every device: that of a first wave would leave the other devices without a model.
        full = settled(repository.release_list(target, model))
        path = folder / f"{model}.floor.json"
        floors[path] = full.release.counter if full else 0
        write_json(path, {"issued": issued, "counter": floors[path]})
    return ExportedRoot(folder / ANCHOR, trusted.root.signed.version, issued, floors)


def mirror(root: Path, folder: Path) -> Mirrored:
    """Copies the files that devices download; the timestamp last, so that the copy is consistent at any moment."""
    repository = open_fleet(root)
    repository.trusted()
    last, mirrored = "metadata/timestamp.json", FolderStore(folder)
    names = [name for part in ("metadata", "targets") for name in repository.store.list(part) if name != last]
    copied = 0
    for name in [*names, last]:
        content = repository.store.read(name)
        if content is not None and mirrored.read(name) != content:
            mirrored.write(name, content)
            copied += 1
    return Mirrored(copied, len(names) + 1 - copied)


def live_releases(root: Path, target: str, at: str) -> tuple[str, Live]:
    """Returns the model of a target and its releases at a moment (ISO 8601); a date is the end of that day in UTC."""
    repository = open_fleet(root)
    model = only_model(repository, target)
    when = at if "T" in at else at + _END_OF_DAY
    return model, live_at(
        repository.journal.entries(), _reports(root, target, model), when, target=target, model=model
    )


def only_model(repository: Repository, target: str) -> str:
    """Returns the model of which a target has releases.

    Raises:
        FleetError: There is none, or more than one.
    """
    names = {model for owner, model in repository.models() if owner == target}
    names = names or {
        entry.model for entry in repository.journal.entries() if entry.target == target and entry.model
    }
    if not names:
        raise FleetError(f"{target} has releases of no model: run `nas fleet publish` first")
    if len(names) > 1:
        raise FleetError(f"{target} has releases of more than one model: {', '.join(sorted(names))}")
    return names.pop()


def _replaced(repository: Repository, role: str, old_keyid: str, keyid: str) -> ReplacedKey:
    return ReplacedKey(role, old_keyid, keyid, repository.keys.uri_of(keyid), repository.settings.keys / "offline")


def _reports(root: Path, target: str, model: str) -> list[Seen]:
    """Returns the reports of a target's devices with the time of receipt: the clocks of devices may be wrong."""
    with open_intake(root) as intake:
        return [(received.report.device, stamp(received.received), received.report.counter, received.report.sha256)
                for received in intake.reports(target, model, ever=True)]
