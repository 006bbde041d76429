"""Signs a change of the repository as a whole, then writes it file by file in an order that a crash cannot spoil.

Nothing refers to a file before it is there: target files, target, targets, snapshot, timestamp, and a new root last.
So a device sees the old state until the timestamp is written, and the new one from then on. Files that a crash left are
never overwritten: the next change takes the next free number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Role, Root, Signed, Snapshot, Targets, Timestamp

from nas_pipeline.core.failpoints import reach
from nas_pipeline.errors import KeysUnavailable
from nas_pipeline.fleet.tuf.keys import Keyring
from nas_pipeline.fleet.tuf.roles import (
    JOURNAL,
    Trusted,
    delegated_roles,
    entry_of,
    issue,
    metadata_name,
    signed_by,
    to_bytes,
)
from nas_pipeline.fleet.tuf.settings import RELEASES_ROLE, FleetSettings
from nas_pipeline.fleet.tuf.store import Folder, Store

APPROVER = ".approver"
"""`TARGET.approver` in the keyring: the second key of a target, used by `approve` alone."""
_T = TypeVar("_T", Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Change:
    """What is new. What is not here stays as it is."""

    delegated: Mapping[str, Metadata[Targets]] = field(default_factory=dict)
    """Signed already: that may have taken a second person."""
    targets: Targets | None = None
    root: Root | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Name in the store -> content."""
    snapshot: bool = True
    """False: only the timestamp is dated anew."""


class Writer:
    """One moment's hand: it signs with the keys that are in the ring."""

    def __init__(self, store: Store, keys: Keyring, settings: FleetSettings, now: datetime) -> None:
        self.store, self.keys, self.settings, self.now = store, keys, settings, now
        self.copies = Folder(settings.folder)

    def write(self, old: Trusted, change: Change, journal_head: str) -> None:
        """Sign and write.

        Args:
            old: What is published.
            change: What is to be published.
            journal_head: Goes into the snapshot, as a witness of the journal so far.

        Raises:
            KeysUnavailable: A private key is not available; nothing was written.
            StorageError: The store does not take a file; devices see the old state, and the same call goes on.
        """
        root = change.root or old.root.signed
        writes = [("target_files", name, content) for name, content in change.files.items()]
        listed = dict(old.snapshot.signed.meta)
        for target, metadata in change.delegated.items():
            content = to_bytes(metadata)
            writes.append(("target", metadata_name(target, metadata.signed.version), content))
            listed[f"{target}.json"] = entry_of(metadata, content)
        if change.targets is not None:
            self.date(change.targets, "targets")
            top = self._top(change.targets, "targets", root, old)
            writes.append(("targets", metadata_name("targets", top.signed.version), to_bytes(top)))
            listed["targets.json"] = entry_of(top, to_bytes(top))
        timestamp = deepcopy(old.timestamp.signed)
        if change.snapshot:
            snapshot = deepcopy(old.snapshot.signed)
            snapshot.meta, snapshot.unrecognized_fields[JOURNAL] = listed, journal_head
            self.date(snapshot, "snapshot")
            signed = self._top(snapshot, "snapshot", root, old)
            writes.append(("snapshot", metadata_name("snapshot", signed.signed.version), to_bytes(signed)))
            timestamp.snapshot_meta = entry_of(signed, to_bytes(signed))
        writes.append(("timestamp", metadata_name("timestamp"), to_bytes(self._timestamp(timestamp, root, old))))
        if change.root is not None:
            writes.append(("root", metadata_name("root", root.version), to_bytes(self._root(change.root, old))))
        for point, name, content in writes:
            reach(point)
            if point != "target_files" or self.store.read(name) != content:
                self.store.write(name, content)
            if point != "target_files":
                self.copies.write(name, content)

    def target(
        self, target: str, signed: Targets, targets: Targets, *, approver: bool = False
    ) -> Metadata[Targets]:
        """Date and sign a target's list with its keys at hand, the approver's only if asked; no threshold is."""
        self.date(signed, target)
        role = delegated_roles(targets)[target]
        metadata = signed_by(signed, self._at_hand(role.keyids, approver=approver))
        if not metadata.signatures:
            raise self._missing(target, role, 0)
        return metadata

    def see_threshold(self, target: str, metadata: Metadata[Targets], targets: Targets) -> None:
        """See that enough keys signed a target's list.

        Raises:
            KeysUnavailable: Signatures are missing; the message names the keys.
        """
        found = targets.get_verification_result(target, metadata.signed_bytes, metadata.signatures)
        if not found:
            raise self._missing(target, delegated_roles(targets)[target], len(found.signed))

    def date(self, signed: Signed, role: str) -> None:
        """Give it the next free version and a new expiry."""
        days = self.settings.expiry_days
        signed.expires = self.now + timedelta(days=days.get(role, days[RELEASES_ROLE]))
        signed.version += 1
        while self.store.exists(metadata_name(role, signed.version)):
            signed.version += 1

    def _timestamp(self, timestamp: Timestamp, root: Root, old: Trusted) -> Metadata[Timestamp]:
        timestamp.version += 1
        issue(timestamp, self.now, self.settings.expiry_days["timestamp"])
        return self._top(timestamp, "timestamp", root, old)

    def _top(self, signed: _T, role: str, root: Root, old: Trusted) -> Metadata[_T]:
        """Signed for the root to come, and for the one that devices have until then, as far as its keys are at hand."""
        new: list[str] = root.roles[role].keyids
        before: list[str] = old.root.signed.roles[role].keyids
        metadata = signed_by(signed, self._at_hand(dict.fromkeys([*new, *before])))
        enough = sum(keyid in metadata.signatures for keyid in new)
        if enough < root.roles[role].threshold:
            raise self._missing(role, root.roles[role], enough)
        return metadata

    def _root(self, root: Root, old: Trusted) -> Metadata[Root]:
        before = old.root.signed.roles["root"]
        new = root.roles["root"]
        metadata = signed_by(root, self._at_hand(dict.fromkeys([*new.keyids, *before.keyids])))
        for role in (new, before):
            if (enough := sum(keyid in metadata.signatures for keyid in role.keyids)) < role.threshold:
                raise self._missing("root", role, enough)
        return metadata

    def _at_hand(self, keyids: Iterable[str], *, approver: bool = True) -> list[Signer]:
        return self.keys.signers(
            keyid for keyid in keyids if approver or not self.keys.role_of(keyid).endswith(APPROVER)
        )

    def _missing(self, role: str, wanted: Role, enough: int) -> KeysUnavailable:
        absent = [f"{keyid[:8]} ({self.keys.place(keyid)})" for keyid in wanted.keyids if not self.keys.signer(keyid)]
        more = "; `--keys FOLDER` finds one on a stick" if absent else "; the approver signs with `nas fleet approve`"
        return KeysUnavailable(
            f"{role} takes {wanted.threshold} signature(s), and {enough} can be given: not at hand are "
            f"{', '.join(absent) or 'none'}{more}. Nothing was changed"
        )
