"""Makes a fleet: keys, the first metadata, the root of trust. Again, it adds the targets that are new."""

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
from nas_pipeline.fleet.tuf.journal import Entry
from nas_pipeline.fleet.tuf.keys import Keyring
from nas_pipeline.fleet.tuf.repository import ANCHOR, Repository
from nas_pipeline.fleet.tuf.roles import (
    JOURNAL,
    ROOT_KEYS,
    TOP,
    delegate,
    entry_of,
    first_root,
    issue,
    metadata_name,
    signed_by,
    to_bytes,
    walk_root,
)
from nas_pipeline.fleet.tuf.settings import RELEASES_ROLE, FleetSettings, stamp, utc_now
from nas_pipeline.fleet.tuf.signing import APPROVER, Change
from nas_pipeline.fleet.tuf.store import open_store


@dataclass(frozen=True, slots=True)
class Founded:
    """What `init` did."""

    repository: Repository
    created: bool
    """False where the fleet was there already."""
    target_names: tuple[str, ...]
    """New ones."""


def found(settings: FleetSettings, *, who: str, clock: Callable[[], datetime] = utc_now) -> Founded:
    """Make the fleet of `settings`, or add the targets that it does not have yet.

    Raises:
        FleetError: The store holds another fleet's metadata, or a name cannot be used.
        StorageError: Something cannot be written; the same call goes on.
    """
    for target in settings.target_names:
        check_name("target", target)
    store, keys = open_store(settings.store), Keyring(settings.folder, settings.keys)
    repository = Repository(settings, store, keys, clock)
    anchor = settings.folder / ANCHOR
    with repository.locked():
        begun = store.exists(metadata_name("timestamp"))
        if begun and not anchor.is_file():
            raise FleetError(f"{settings.store} holds a fleet's metadata, and {settings.folder} has no {ANCHOR}: copy "
                             "the folder from who publishes, or give another store")
        if begun:
            return Founded(repository, False, _more_families(repository, who))
        if not anchor.is_file():
            made = {role: _keys(keys, role, ROOT_KEYS if role == "root" else 1) for role in TOP}
            root = first_root(made, clock() + timedelta(days=settings.expiry_days["root"]))
            signed = signed_by(root, keys.signers(root.roles["root"].keyids))
            with atomic_path(anchor) as temporary:
                temporary.write_bytes(to_bytes(signed))
        _first_files(repository, anchor.read_bytes())
        repository.journal.append(Entry(kind="init", when=stamp(clock()), who=who))
    return Founded(repository, True, settings.target_names)


def _first_files(repository: Repository, anchor: bytes) -> None:
    store, keys, settings, now = repository.store, repository.keys, repository.settings, repository.clock()
    root = walk_root(store, anchor).signed

    def expires(role: str) -> datetime:
        return now + timedelta(days=settings.expiry_days[role])

    targets = Targets(version=1, expires=expires("targets"))
    delegated: dict[str, Metadata[Targets]] = {}
    for target in settings.target_names:
        delegate(targets, target, _family_keys(repository, target))
        list_of_none = Targets(version=1, expires=expires(RELEASES_ROLE))
        delegated[target] = signed_by(list_of_none, keys.signers(key.keyid for key in _family_keys(repository, target)))
    top = signed_by(targets, keys.signers(root.roles["targets"].keyids))
    snapshot = Snapshot(version=1, expires=expires("snapshot"))
    below = {"targets": top, **delegated}
    snapshot.meta = {f"{name}.json": entry_of(each, to_bytes(each)) for name, each in below.items()}
    snapshot.unrecognized_fields[JOURNAL] = repository.journal.head()
    signed = signed_by(snapshot, keys.signers(root.roles["snapshot"].keyids))
    timestamp = Timestamp(version=1, snapshot_meta=entry_of(signed, to_bytes(signed)))
    issue(timestamp, now, settings.expiry_days["timestamp"])
    writes = {
        metadata_name("root", 1): anchor,
        **{metadata_name(target, 1): to_bytes(each) for target, each in delegated.items()},
        metadata_name("targets", 1): to_bytes(top), metadata_name("snapshot", 1): to_bytes(signed),
        metadata_name("timestamp"): to_bytes(signed_by(timestamp, keys.signers(root.roles["timestamp"].keyids))),
    }
    for name, content in writes.items():
        reach("init")
        store.write(name, content)
        repository.writer().copies.write(name, content)


def _more_families(repository: Repository, who: str) -> tuple[str, ...]:
    trusted = repository.trusted()
    new = tuple(target for target in repository.settings.target_names if target not in trusted.delegated)
    if not new:
        return ()
    targets, writer, signed = deepcopy(trusted.targets.signed), repository.writer(), {}
    for target in new:
        made = _family_keys(repository, target)
        delegate(targets, target, made)
        list_of_none = Targets(version=1)
        writer.date(list_of_none, target)
        signed[target] = signed_by(list_of_none, repository.keys.signers(key.keyid for key in made))
    writer.write(trusted, Change(delegated=signed, targets=targets), repository.journal.head())
    for target in new:
        repository.journal.append(Entry(kind="init", when=stamp(repository.clock()), who=who, target=target))
    return new


def _family_keys(repository: Repository, target: str) -> list[Key]:
    roles = [target, target + APPROVER] if repository.settings.approval else [target]
    return [key for role in roles for key in _keys(repository.keys, role, 1)]


def _keys(keys: Keyring, role: str, number: int) -> list[Key]:
    """Those made for the role already (a run before may have been interrupted), and new ones up to `number`."""
    made = keys.of(role)[:number]
    return [*made, *(keys.make(role, offline=role == "root") for _ in range(number - len(made)))]
