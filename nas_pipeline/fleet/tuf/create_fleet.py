"""Creates a fleet (keys, first metadata, root of trust), or adds new targets to an existing one."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from edge_agent.contract.wire import check_name
from nas_pipeline.core.failpoints import reach
from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.keys import Keyring
from nas_pipeline.fleet.tuf.repository import ANCHOR, Repository
from nas_pipeline.fleet.tuf.roles import (
    JOURNAL,
    ROOT_KEYS,
    TOP,
    delegate,
    first_root,
    issue,
    meta_file_of,
    metadata_name,
    signed_by,
    to_bytes,
    walk_root,
)
from nas_pipeline.fleet.tuf.settings import RELEASES_ROLE, FleetSettings, stamp, utc_now
from nas_pipeline.fleet.tuf.signing import APPROVER, Change
from nas_pipeline.fleet.tuf.store import open_store


@dataclass(frozen=True, slots=True)
class CreatedFleet:
    """Result of `create_fleet`."""

    repository: Repository
    created: bool
    """False if the fleet existed already."""
    target_names: tuple[str, ...]
    """The targets that were added."""


def create_fleet(settings: FleetSettings, *, who: str, clock: Callable[[], datetime] = utc_now) -> CreatedFleet:
    """Creates the fleet of `settings`, or adds the targets that it does not have yet.

    Args:
        settings: The fleet.
        who: Author, for the journal.
        clock: Returns the current time in UTC.

    Raises:
        FleetError: The store contains another fleet's metadata, or a name is invalid.
        StorageError: A file cannot be written; the same call completes the fleet.
    """
    for target in settings.target_names:
        check_name("target", target)
    store, keys = open_store(settings.store), Keyring(settings.folder, settings.keys)
    repository = Repository(settings, store, keys, clock)
    anchor = settings.folder / ANCHOR
    with repository.locked():
        exists = store.exists(metadata_name("timestamp"))
        if exists and not anchor.is_file():
            raise FleetError(f"{settings.store} contains a fleet's metadata, but {settings.folder} has no {ANCHOR}: "
                             "copy the folder from the publisher, or use another store")
        if exists:
            return CreatedFleet(repository, False, _add_targets(repository, who))
        if not anchor.is_file():
            top_keys = {role: _ensure_keys(keys, role, ROOT_KEYS if role == "root" else 1) for role in TOP}
            root = first_root(top_keys, clock() + timedelta(days=settings.expiry_days["root"]))
            signed = signed_by(root, keys.signers(root.roles["root"].keyids))
            with atomic_path(anchor) as temporary:
                temporary.write_bytes(to_bytes(signed))
        _write_first_files(repository, anchor.read_bytes())
        repository.journal.append(JournalEntry(kind="init", when=stamp(clock()), who=who))
    return CreatedFleet(repository, True, settings.target_names)


def _write_first_files(repository: Repository, anchor: bytes) -> None:
    store, keys, settings, now = repository.store, repository.keys, repository.settings, repository.clock()
    root = walk_root(store, anchor).signed

    def expires(role: str) -> datetime:
        return now + timedelta(days=settings.expiry_days[role])

    targets = Targets(version=1, expires=expires("targets"))
    delegated: dict[str, Metadata[Targets]] = {}
    for target in settings.target_names:
        target_keys = _ensure_target_keys(repository, target)
        delegate(targets, target, target_keys)
        empty = Targets(version=1, expires=expires(RELEASES_ROLE))
        delegated[target] = signed_by(empty, keys.signers(key.keyid for key in target_keys))
    top = signed_by(targets, keys.signers(root.roles["targets"].keyids))
    snapshot = Snapshot(version=1, expires=expires("snapshot"))
    listed = {"targets": top, **delegated}
    snapshot.meta = {f"{name}.json": meta_file_of(metadata, to_bytes(metadata)) for name, metadata in listed.items()}
    snapshot.unrecognized_fields[JOURNAL] = repository.journal.head()
    signed = signed_by(snapshot, keys.signers(root.roles["snapshot"].keyids))
    timestamp = Timestamp(version=1, snapshot_meta=meta_file_of(signed, to_bytes(signed)))
    issue(timestamp, now, settings.expiry_days["timestamp"])
    writes = {
        metadata_name("root", 1): anchor,
        **{metadata_name(target, 1): to_bytes(metadata) for target, metadata in delegated.items()},
        metadata_name("targets", 1): to_bytes(top), metadata_name("snapshot", 1): to_bytes(signed),
        metadata_name("timestamp"): to_bytes(signed_by(timestamp, keys.signers(root.roles["timestamp"].keyids))),
    }
    for name, content in writes.items():
        reach("init")
        store.write(name, content)
        repository.writer().copies.write(name, content)


def _add_targets(repository: Repository, who: str) -> tuple[str, ...]:
    trusted = repository.trusted()
    new = tuple(target for target in repository.settings.target_names if target not in trusted.delegated)
    if not new:
        return ()
    targets, writer, signed = deepcopy(trusted.targets.signed), repository.writer(), {}
    for target in new:
        target_keys = _ensure_target_keys(repository, target)
        delegate(targets, target, target_keys)
        empty = Targets(version=1)
        writer.date(empty, target)
        signed[target] = signed_by(empty, repository.keys.signers(key.keyid for key in target_keys))
    writer.write(trusted, Change(delegated=signed, targets=targets), repository.journal.head())
    for target in new:
        repository.journal.append(JournalEntry(kind="init", when=stamp(repository.clock()), who=who, target=target))
    return new


def _ensure_target_keys(repository: Repository, target: str) -> list[Key]:
    roles = [target, target + APPROVER] if repository.settings.approval else [target]
    return [key for role in roles for key in _ensure_keys(repository.keys, role, 1)]


def _ensure_keys(keys: Keyring, role: str, count: int) -> list[Key]:
    """Returns `count` keys of a role; uses those of an interrupted run and creates the missing ones."""
    existing = keys.keys_for(role)[:count]
    return [*existing, *(keys.create(role, offline=role == "root") for _ in range(count - len(existing)))]
