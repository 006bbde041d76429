"""Signs a change of the repository, then writes its files in an order that is safe at a crash.

The order is target files, delegated roles, targets, snapshot, timestamp, and a new root last, so no file refers to one
that is missing. Devices see the old state until the timestamp is written, and the new state afterwards. Files that a
crash left are never overwritten: the next change uses the next free version.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from tuf.api.metadata import Metadata, Role, Root, Signed, Snapshot, Targets, Timestamp

from nas_pipeline.core.failpoints import reach
from nas_pipeline.errors import KeysUnavailable
from nas_pipeline.fleet.tuf.keys import Keyring
from nas_pipeline.fleet.tuf.roles import (
    JOURNAL,
    Trusted,
    delegated_roles,
    issue,
    meta_file_of,
    metadata_name,
    signed_by,
    to_bytes,
)
from nas_pipeline.fleet.tuf.settings import RELEASES_ROLE, FleetSettings
from nas_pipeline.fleet.tuf.store import FolderStore, Store

APPROVER = ".approver"
"""Suffix in the keyring: `TARGET.approver` is the second key of a target, used by `approve` only."""
_T = TypeVar("_T", Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Change:
    """The parts of the repository that change. All others stay as published."""

    delegated: Mapping[str, Metadata[Targets]] = field(default_factory=dict)
    """Target -> its signed role; with two signatures if the fleet needs approval."""
    targets: Targets | None = None
    root: Root | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Name in the store -> content."""
    snapshot: bool = True
    """False: only the timestamp is renewed."""


class MetadataWriter:
    """Signs metadata with the keys currently available, at one moment, and writes it to the store."""

    def __init__(self, store: Store, keys: Keyring, settings: FleetSettings, now: datetime) -> None:
        self.store, self.keys, self.settings, self.now = store, keys, settings, now
        self.copies = FolderStore(settings.folder)
        """Copies of all metadata in the fleet's folder, for `restore` and `rollback`."""

    def write(self, old: Trusted, change: Change, journal_head: str) -> None:
        """Signs and writes a change.

        Args:
            old: The published metadata.
            change: The new parts.
            journal_head: Digest of the journal's last line; it is signed with the snapshot.

        Raises:
            KeysUnavailable: A key is not available; nothing is written.
            StorageError: A file cannot be written. Devices see the old state; the same call completes the change.
        """
        root = change.root or old.root.signed
        writes = [("target_files", name, content) for name, content in change.files.items()]
        meta = dict(old.snapshot.signed.meta)
        for target, metadata in change.delegated.items():
            content = to_bytes(metadata)
            writes.append(("target", metadata_name(target, metadata.signed.version), content))
            meta[f"{target}.json"] = meta_file_of(metadata, content)
        if change.targets is not None:
            self.date(change.targets, "targets")
            targets = self._sign_top(change.targets, "targets", root, old)
            writes.append(("targets", metadata_name("targets", targets.signed.version), to_bytes(targets)))
            meta["targets.json"] = meta_file_of(targets, to_bytes(targets))
        timestamp = deepcopy(old.timestamp.signed)
        if change.snapshot:
            unsigned = deepcopy(old.snapshot.signed)
            unsigned.meta, unsigned.unrecognized_fields[JOURNAL] = meta, journal_head
            self.date(unsigned, "snapshot")
            snapshot = self._sign_top(unsigned, "snapshot", root, old)
            writes.append(("snapshot", metadata_name("snapshot", snapshot.signed.version), to_bytes(snapshot)))
            timestamp.snapshot_meta = meta_file_of(snapshot, to_bytes(snapshot))
        timestamp.version += 1
        issue(timestamp, self.now, self.settings.expiry_days["timestamp"])
        signed_timestamp = self._sign_top(timestamp, "timestamp", root, old)
        writes.append(("timestamp", metadata_name("timestamp"), to_bytes(signed_timestamp)))
        if change.root is not None:
            writes.append(("root", metadata_name("root", root.version), to_bytes(self._sign_root(change.root, old))))
        for point, name, content in writes:
            reach(point)
            if point != "target_files" or self.store.read(name) != content:
                self.store.write(name, content)
            if point != "target_files":
                self.copies.write(name, content)

    def sign_target(
        self, target: str, signed: Targets, targets: Targets, *, with_approver: bool = False
    ) -> Metadata[Targets]:
        """Dates a target's role and signs it with the available keys. Does not check the threshold.

        Args:
            target: The delegated role.
            signed: Its new content.
            targets: The role that delegates to it.
            with_approver: Use the approver's key as well.

        Raises:
            KeysUnavailable: None of its keys is available.
        """
        self.date(signed, target)
        role = delegated_roles(targets)[target]
        metadata = signed_by(signed, self.keys.signers(
            keyid for keyid in role.keyids if with_approver or not self.keys.role_of(keyid).endswith(APPROVER)
        ))
        if not metadata.signatures:
            raise self._missing_keys(target, role, 0)
        return metadata

    def check_thresholds(self, old: Trusted, change: Change) -> None:
        """Checks that every delegated role of a change has enough signatures.

        Raises:
            KeysUnavailable: One has not; the message names the missing keys.
        """
        targets = change.targets or old.targets.signed
        for target, metadata in change.delegated.items():
            result = targets.get_verification_result(target, metadata.signed_bytes, metadata.signatures)
            if not result:
                raise self._missing_keys(target, delegated_roles(targets)[target], len(result.signed))

    def date(self, signed: Signed, role: str) -> None:
        """Sets the next free version and a new expiry date."""
        days = self.settings.expiry_days
        signed.expires = self.now + timedelta(days=days.get(role, days[RELEASES_ROLE]))
        signed.version += 1
        while self.store.exists(metadata_name(role, signed.version)):
            signed.version += 1

    def _sign_top(self, signed: _T, role: str, root: Root, old: Trusted) -> Metadata[_T]:
        """Signs for the new root and, with the keys available, for the published one that devices still use."""
        new: list[str] = root.roles[role].keyids
        before: list[str] = old.root.signed.roles[role].keyids
        metadata = signed_by(signed, self.keys.signers(dict.fromkeys([*new, *before])))
        enough = sum(keyid in metadata.signatures for keyid in new)
        if enough < root.roles[role].threshold:
            raise self._missing_keys(role, root.roles[role], enough)
        return metadata

    def _sign_root(self, root: Root, old: Trusted) -> Metadata[Root]:
        before = old.root.signed.roles["root"]
        new = root.roles["root"]
        metadata = signed_by(root, self.keys.signers(dict.fromkeys([*new.keyids, *before.keyids])))
        for role in (new, before):
            if (enough := sum(keyid in metadata.signatures for keyid in role.keyids)) < role.threshold:
                raise self._missing_keys("root", role, enough)
        return metadata

    def _missing_keys(self, name: str, role: Role, signatures: int) -> KeysUnavailable:
        absent = [f"{keyid[:8]} ({self.keys.uri_of(keyid)})" for keyid in role.keyids if not self.keys.signer(keyid)]
        hint = ("use `--keys FOLDER` for a key on a removable medium" if absent
                else "the approver signs with `nas fleet approve`")
        return KeysUnavailable(
            f"{name} needs {role.threshold} signature(s), {signatures} available; missing keys: "
            f"{', '.join(absent) or 'none'}; {hint}. Nothing was changed"
        )
