"""The signed repository of a fleet: reads it with every check, and opens edits of its release lists.

Changes of a list go through `Repository.edit`, see `edit.py`. One publisher at a time: a lock in the fleet's folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf import pending
from nas_pipeline.fleet.tuf.edit import Edit
from nas_pipeline.fleet.tuf.journal import Journal, JournalEntry
from nas_pipeline.fleet.tuf.keys import Keyring
from nas_pipeline.fleet.tuf.release_list import highest_counter, models_of, published_change, read_release_list
from nas_pipeline.fleet.tuf.releases import ReleaseList
from nas_pipeline.fleet.tuf.roles import JOURNAL, Trusted, read_trusted, to_bytes
from nas_pipeline.fleet.tuf.settings import FleetSettings, utc_now
from nas_pipeline.fleet.tuf.signing import MetadataWriter
from nas_pipeline.fleet.tuf.store import Store, open_store

ANCHOR = "root.json"
"""The root of trust in the fleet's folder. A device's image contains a copy."""


class Repository:
    """A fleet's signed repository together with the publisher's folder (journal, keys, pending changes)."""

    def __init__(self, settings: FleetSettings, store: Store, keys: Keyring, clock: Callable[[], datetime]) -> None:
        self.settings, self.store, self.keys, self.clock = settings, store, keys, clock
        self.journal = Journal(settings.folder)

    @classmethod
    def open(
        cls, settings: FleetSettings, *, clock: Callable[[], datetime] = utc_now, key_folders: Sequence[Path] = ()
    ) -> Repository:
        """Opens the repository that `nas fleet init` created.

        Args:
            settings: Location and signing rules of the fleet.
            clock: Returns the current time in UTC.
            key_folders: Additional folders with private keys.

        Raises:
            FleetError: The fleet does not exist.
        """
        if not (settings.folder / ANCHOR).is_file():
            raise FleetError(f"{settings.folder} has no {ANCHOR}: run `nas fleet init`, or copy the folder of an "
                             "existing fleet from its publisher")
        keys = Keyring(settings.folder, settings.keys, key_folders)
        return cls(settings, open_store(settings.store), keys, clock)

    def trusted(self) -> Trusted:
        """Reads and verifies the published metadata, and updates the root of trust in the folder.

        Raises:
            FleetError: A file in the store fails verification.
        """
        anchor = self.settings.folder / ANCHOR
        content = anchor.read_bytes()
        trusted = read_trusted(self.store, content)
        if (newest := to_bytes(trusted.root)) != content:
            with atomic_path(anchor) as temporary:
                temporary.write_bytes(newest)
        return trusted

    def models(self) -> list[tuple[str, str]]:
        """Returns (target, model) of every published release list."""
        delegated = self.trusted().delegated
        return [(target, model) for target, metadata in sorted(delegated.items())
                for model in models_of(target, metadata.signed)]

    def release_list(self, target: str, model: str) -> ReleaseList:
        """Returns the releases of a model, highest counter first; empty if there are none.

        Raises:
            FleetError: There is no such target, or a file in the store fails verification.
        """
        return read_release_list(self.store, self.trusted().delegated, target, model)

    def highest_counter(self, target: str, model: str) -> int:
        """Returns the highest counter that was ever used for a model, also by an unfinished change; 0 if none."""
        entries = [line.entry for line in self.journal.lines()
                   if (line.entry.target, line.entry.model) == (target, model)]
        return highest_counter(self.release_list(target, model), entries)

    @contextlib.contextmanager
    def edit(self, target: str, model: str) -> Iterator[Edit]:
        """Opens one change of a model's release list: takes the lock, completes what a crash left, verifies once.

        Edits do not nest: the lock is not reentrant.

        Args:
            target: The target whose list changes.
            model: The registered model.

        Yields:
            The verified state and the functions that sign a new one.

        Raises:
            FleetError: There is no such target, or a file in the store fails verification.
        """
        with self.locked():
            trusted = self.recover()
            release_list = read_release_list(self.store, trusted.delegated, target, model)
            yield Edit(self, trusted, target, model, release_list, self.journal.lines())

    def approve(self, target: str, who: str, why: str = "") -> JournalEntry:
        """Adds the approver's signature to the pending change of a target and publishes it.

        Raises:
            FleetError: There is no pending change, the approver's key is not available, or the published list was
                changed after the change was proposed.
        """
        waiting = pending.read(self.settings.folder, target)
        if waiting is None:
            raise FleetError(f"no change of {target:.120} waits for approval")
        with self.edit(target, waiting.entry.model) as edit:
            return edit.approve(who, why)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the publisher's lock: no other process on this machine changes the repository inside the block."""
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.settings.folder / "lock", mode=0o600, fallback_to_soft=False):
            yield

    def verify_journal(self, trusted: Trusted) -> int:
        """Verifies the journal against the digest in the signed snapshot; returns the number of lines.

        Raises:
            FleetError: A line was changed or cut off.
        """
        return self.journal.verify(str(trusted.snapshot.signed.unrecognized_fields.get(JOURNAL, "")))

    def writer(self) -> MetadataWriter:
        """Returns a writer that signs with the keys currently available, at the current time."""
        return MetadataWriter(self.store, self.keys, self.settings, self.clock())

    def recover(self) -> Trusted:
        """Verifies the published metadata and completes the journal after a crash. Call it inside `locked` only.

        A change that was signed and published before the crash gets its `done` line.

        Raises:
            FleetError: A file in the store fails verification.
        """
        trusted = self.trusted()
        for entry in self.journal.unfinished():
            if entry.kind in ("rotated", "revoked") and entry.keys[0] in _keys_in_use(trusted):
                self.journal.append(entry)
            elif not entry.model or (metadata := trusted.delegated.get(entry.target)) is None:
                continue
            elif published_change(entry.target, entry.model, metadata.signed) == entry.key:
                self.journal.append(replace(entry, keys=tuple(metadata.signatures)))
                waiting = pending.read(self.settings.folder, entry.target)
                if waiting is not None and waiting.entry.key == entry.key:
                    pending.remove(self.settings.folder, entry.target)
        return trusted


def _keys_in_use(trusted: Trusted) -> set[str]:
    delegations = trusted.targets.signed.delegations
    return {*trusted.root.signed.keys, *(delegations.keys if delegations else ())}
