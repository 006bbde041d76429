"""The roles of a TUF repository: what each file is called, reading them with every check that a device makes, new ones.

Nothing is believed that does not follow, signature by signature, from the root of trust in the fleet's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from edge_agent.contract.wire import check_name
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.settings import stamp
from nas_pipeline.fleet.tuf.store import Store

TOP = ("root", "targets", "snapshot", "timestamp")
ROOT_THRESHOLD, ROOT_KEYS = 2, 3
JOURNAL = "journal"
"""Extra field of the snapshot: digest of the journal's last line when it was signed."""
ISSUED = "issued"
"""Extra field of the timestamp: when it was signed. No device goes below it."""
_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Trusted:
    """What is published, after all checks."""

    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    delegated: dict[str, Metadata[Targets]]


def metadata_name(role: str, version: int | None = None) -> str:
    """Name in the store."""
    return f"metadata/{role}.json" if version is None else f"metadata/{version}.{role}.json"


def target_name(path: str, sha256: str) -> str:
    """Name in the store of a target: consistent snapshots put the hash before the file's name."""
    folder, _, name = path.rpartition("/")
    return f"targets/{folder}/{sha256}.{name}"


def to_bytes(metadata: Metadata[Any]) -> bytes:
    """As it is stored, without a byte that a device would fetch for nothing."""
    return metadata.to_bytes(JSONSerializer(compact=True))


def walk_root(store: Store, anchor: bytes) -> Metadata[Root]:
    """The newest root that follows, version by version, from `anchor`.

    Raises:
        FleetError: One does not follow from the one before.
    """
    root: Metadata[Root] = _parsed(anchor, "the root of trust", Root)
    while (content := store.read(metadata_name("root", root.signed.version + 1))) is not None:
        name = metadata_name("root", root.signed.version + 1)
        newer: Metadata[Root] = _parsed(content, name, Root)
        for judge in (root, newer):
            _see_signatures(judge.signed, "root", newer, name)
        if newer.signed.version != root.signed.version + 1:
            raise FleetError(f"{name} says that it is version {newer.signed.version}")
        root = newer
    return root


def read_trusted(store: Store, anchor: bytes) -> Trusted:
    """Read and check everything below the newest root. Expired is allowed: the publisher is who signs anew.

    Raises:
        FleetError: A file is missing, not signed as it has to be, or not the one that is listed.
    """
    root = walk_root(store, anchor)
    timestamp = _read(store, "timestamp", None, Timestamp, root)
    listed = timestamp.signed.snapshot_meta
    snapshot = _read(store, "snapshot", listed, Snapshot, root)
    targets = _read(store, "targets", snapshot.signed.meta["targets.json"], Targets, root)
    delegated = {}
    for target in delegated_roles(targets.signed):
        if (meta := snapshot.signed.meta.get(f"{target}.json")) is None:
            raise FleetError(f"the snapshot does not list {target}.json, to which targets.json delegates")
        delegated[target] = _read(store, target, meta, Targets, targets)
    return Trusted(root, timestamp, snapshot, targets, delegated)


def delegated_roles(targets: Targets) -> dict[str, DelegatedRole]:
    """Family -> its delegation."""
    return dict(targets.delegations.roles or {}) if targets.delegations else {}


def family_versions(store: Store, target: str) -> Iterator[Targets]:
    """Every version of a target's list in `store`, newest first, unchecked: for the copies in the fleet's folder."""
    versions = [name.split("/")[-1].split(".") for name in store.list("metadata")]
    for version in sorted((int(parts[0]) for parts in versions if parts[1:] == [target, "json"]), reverse=True):
        name = metadata_name(target, version)
        metadata: Metadata[Targets] = _parsed(store.read(name) or b"", name, Targets)
        yield metadata.signed


def first_root(keys: Mapping[str, list[Key]], expires: datetime) -> Root:
    """A root of which `ROOT_THRESHOLD` keys have to sign, and one key of each other top role."""
    root = Root(version=1, expires=expires, consistent_snapshot=True)
    for role in TOP:
        for key in keys[role]:
            root.add_key(key, role)
    root.roles["root"].threshold = ROOT_THRESHOLD
    return root


def delegate(targets: Targets, target: str, keys: list[Key]) -> None:
    """Let `keys`, all of them together, sign for a new target: for its own files and no others'."""
    check_name("target", target)
    if targets.delegations is None:
        targets.delegations = Delegations({}, {})
    assert targets.delegations.roles is not None, "never made of succinct roles"
    targets.delegations.roles[target] = DelegatedRole(
        target, [], threshold=len(keys), terminating=True, paths=[f"{target}/*/*"]
    )
    for key in keys:
        targets.add_key(key, target)


def signed_by(signed: _T, signers: list[Signer]) -> Metadata[_T]:
    """Metadata with one signature of each."""
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


def entry_of(metadata: Metadata[Any], content: bytes) -> MetaFile:
    """How another file lists this one: version, length and hash, so that no other can be put in its place."""
    return MetaFile.from_data(metadata.signed.version, content, ["sha256"])


def issue(timestamp: Timestamp, now: datetime, days: int) -> None:
    """Date a timestamp."""
    timestamp.unrecognized_fields[ISSUED] = stamp(now)
    timestamp.expires = now + timedelta(days=days)


def _read(
    store: Store, role: str, listed: MetaFile | None, kind: type[_T], by: Metadata[Root] | Metadata[Targets]
) -> Metadata[_T]:
    name = metadata_name(role, listed.version if listed else None)
    content = store.read(name)
    if content is None:
        raise FleetError(f"{name} is missing in the store: `nas fleet restore` puts it back; a new fleet starts with "
                         "`nas fleet init`")
    metadata: Metadata[_T] = _parsed(content, name, kind)
    _see_signatures(by.signed, role, metadata, name)
    if listed is not None:
        try:
            listed.verify_length_and_hashes(content)
        except RepositoryError as error:
            raise FleetError(f"{name} in the store is not the file that is listed: {error}") from error
        if metadata.signed.version != listed.version:
            raise FleetError(f"{name} says that it is version {metadata.signed.version}")
    return metadata


def _parsed(content: bytes, name: str, kind: type[_T]) -> Metadata[_T]:
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(content)
    except DeserializationError as error:
        raise FleetError(f"{name} is not TUF metadata: {error}") from error
    if not isinstance(metadata.signed, kind):
        raise FleetError(f"{name} holds {metadata.signed.type} metadata")
    return cast(Metadata[_T], metadata)


def _see_signatures(by: Root | Targets, role: str, metadata: Metadata[Any], name: str) -> None:
    try:
        by.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise FleetError(f"{name} in the store is not to be trusted: {error}") from error
