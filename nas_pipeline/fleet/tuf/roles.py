"""The roles of a TUF repository: file names, verified reading, and new roles.

Reading makes every check that a device makes: each file is verified, signature by signature, from the root of trust in
the fleet's folder.
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
"""Additional field of the snapshot: digest of the journal's last line at the time of signing."""
ISSUED = "issued"
"""Additional field of the timestamp: time of signing. Devices refuse older metadata."""
_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Trusted:
    """The published metadata, verified."""

    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    delegated: dict[str, Metadata[Targets]]
    """Target -> its role."""


def metadata_name(role: str, version: int | None = None) -> str:
    """Returns the name in the store of a role's metadata; without version: the timestamp."""
    return f"metadata/{role}.json" if version is None else f"metadata/{version}.{role}.json"


def target_name(path: str, sha256: str) -> str:
    """Returns the name in the store of a target file: consistent snapshots prefix it with the hash."""
    folder, _, name = path.rpartition("/")
    return f"targets/{folder}/{sha256}.{name}"


def to_bytes(metadata: Metadata[Any]) -> bytes:
    """Serialises metadata for the store, as compact JSON."""
    return metadata.to_bytes(JSONSerializer(compact=True))


def walk_root(store: Store, anchor: bytes) -> Metadata[Root]:
    """Returns the newest root, verified version by version from `anchor`.

    Raises:
        FleetError: A version is not signed by its predecessor and by itself.
    """
    root: Metadata[Root] = _parsed(anchor, "the root of trust", Root)
    while (content := store.read(metadata_name("root", root.signed.version + 1))) is not None:
        name = metadata_name("root", root.signed.version + 1)
        newer: Metadata[Root] = _parsed(content, name, Root)
        for verifier in (root, newer):
            _check_signatures(verifier.signed, "root", newer, name)
        if newer.signed.version != root.signed.version + 1:
            raise FleetError(f"{name} states version {newer.signed.version}")
        root = newer
    return root


def read_trusted(store: Store, anchor: bytes) -> Trusted:
    """Reads and verifies all metadata below the newest root. Expired metadata is accepted: the publisher renews it.

    Raises:
        FleetError: A file is missing, lacks valid signatures, or differs from the listed one.
    """
    root = walk_root(store, anchor)
    timestamp = _read(store, "timestamp", None, Timestamp, root)
    snapshot = _read(store, "snapshot", timestamp.signed.snapshot_meta, Snapshot, root)
    targets = _read(store, "targets", snapshot.signed.meta["targets.json"], Targets, root)
    delegated = {}
    for target in delegated_roles(targets.signed):
        if (meta := snapshot.signed.meta.get(f"{target}.json")) is None:
            raise FleetError(f"the snapshot does not list {target}.json, to which targets.json delegates")
        delegated[target] = _read(store, target, meta, Targets, targets)
    return Trusted(root, timestamp, snapshot, targets, delegated)


def delegated_roles(targets: Targets) -> dict[str, DelegatedRole]:
    """Returns target -> its delegation."""
    return dict(targets.delegations.roles or {}) if targets.delegations else {}


def target_versions(store: Store, target: str) -> Iterator[Metadata[Targets]]:
    """Yields every version of a target's role, newest first, unverified: for the copies in the fleet's folder."""
    versions = [name.split("/")[-1].split(".") for name in store.list("metadata")]
    for version in sorted((int(parts[0]) for parts in versions if parts[1:] == [target, "json"]), reverse=True):
        name = metadata_name(target, version)
        yield _parsed(store.read(name) or b"", name, Targets)


def first_root(keys: Mapping[str, list[Key]], expires: datetime) -> Root:
    """Returns a root that needs `ROOT_THRESHOLD` of its keys, with one key for each other top-level role."""
    root = Root(version=1, expires=expires, consistent_snapshot=True)
    for role in TOP:
        for key in keys[role]:
            root.add_key(key, role)
    root.roles["root"].threshold = ROOT_THRESHOLD
    return root


def delegate(targets: Targets, target: str, keys: list[Key]) -> None:
    """Delegates the files of a new target, and no others, to `keys`; all of them have to sign."""
    check_name("target", target)
    if targets.delegations is None:
        targets.delegations = Delegations({}, {})
    assert targets.delegations.roles is not None, "succinct roles are not used"
    targets.delegations.roles[target] = DelegatedRole(
        target, [], threshold=len(keys), terminating=True, paths=[f"{target}/*/*"]
    )
    for key in keys:
        targets.add_key(key, target)


def signed_by(signed: _T, signers: list[Signer]) -> Metadata[_T]:
    """Returns metadata with one signature of each signer."""
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


def meta_file_of(metadata: Metadata[Any], content: bytes) -> MetaFile:
    """Returns the reference by which another file lists this one: version, length and hash."""
    return MetaFile.from_data(metadata.signed.version, content, ["sha256"])


def issue(timestamp: Timestamp, now: datetime, days: int) -> None:
    """Sets the time of signing and the expiry date of a timestamp."""
    timestamp.unrecognized_fields[ISSUED] = stamp(now)
    timestamp.expires = now + timedelta(days=days)


def _read(
    store: Store, role: str, listed: MetaFile | None, kind: type[_T], delegator: Metadata[Root] | Metadata[Targets]
) -> Metadata[_T]:
    name = metadata_name(role, listed.version if listed else None)
    content = store.read(name)
    if content is None:
        raise FleetError(f"{name} is missing in the store: `nas fleet restore` restores it; `nas fleet init` creates a "
                         "new fleet")
    metadata: Metadata[_T] = _parsed(content, name, kind)
    _check_signatures(delegator.signed, role, metadata, name)
    if listed is not None:
        try:
            listed.verify_length_and_hashes(content)
        except RepositoryError as error:
            raise FleetError(f"{name} in the store differs from the listed file: {error}") from error
        if metadata.signed.version != listed.version:
            raise FleetError(f"{name} states version {metadata.signed.version}")
    return metadata


def _parsed(content: bytes, name: str, kind: type[_T]) -> Metadata[_T]:
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(content)
    except DeserializationError as error:
        raise FleetError(f"{name} is not TUF metadata: {error}") from error
    if not isinstance(metadata.signed, kind):
        raise FleetError(f"{name} contains {metadata.signed.type} metadata")
    return cast(Metadata[_T], metadata)


def _check_signatures(delegator: Root | Targets, role: str, metadata: Metadata[Any], name: str) -> None:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise FleetError(f"{name} in the store fails verification: {error}") from error
