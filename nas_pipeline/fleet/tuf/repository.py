"""The signed repository of a fleet: reads it with every check, and changes a model's list of releases as a whole.

Every publish, widening, stop and rollback is `release`: write this list. Journal first (`intent`), then the files in
the order of `writing.py`, then the journal again (`done`). One publisher at a time, by a lock in the fleet's folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from filelock import FileLock
from tuf.api.metadata import Metadata, Targets

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf import pending
from nas_pipeline.fleet.tuf import release_list as listing
from nas_pipeline.fleet.tuf.journal import Entry, Journal
from nas_pipeline.fleet.tuf.keys import Keyring
from nas_pipeline.fleet.tuf.releases import ReleaseList
from nas_pipeline.fleet.tuf.roles import JOURNAL, Trusted, read_trusted, to_bytes
from nas_pipeline.fleet.tuf.settings import FleetSettings, stamp, utc_now
from nas_pipeline.fleet.tuf.signing import APPROVER, Change, Writer
from nas_pipeline.fleet.tuf.store import Store, open_store

ANCHOR = "root.json"
"""In the fleet's folder: the root of trust, and what a device's image is given."""


class Repository:
    """A fleet's repository, and the folder of who publishes."""

    def __init__(self, settings: FleetSettings, store: Store, keys: Keyring, clock: Callable[[], datetime]) -> None:
        self.settings, self.store, self.keys, self.clock = settings, store, keys, clock
        self.journal = Journal(settings.folder)

    @classmethod
    def open(
        cls, settings: FleetSettings, *, clock: Callable[[], datetime] = utc_now, elsewhere: Sequence[Path] = ()
    ) -> Repository:
        """The repository that `nas fleet init` made.

        Args:
            settings: Where it is, and how it signs.
            clock: The time, in UTC.
            elsewhere: More folders with private keys.

        Raises:
            FleetError: There is none yet.
        """
        if not (settings.folder / ANCHOR).is_file():
            raise FleetError(f"{settings.folder} has no {ANCHOR}: run `nas fleet init`, or, where the fleet is there "
                             "already, copy its folder from who publishes")
        keys = Keyring(settings.folder, settings.keys, elsewhere)
        return cls(settings, open_store(settings.store), keys, clock)

    def trusted(self) -> Trusted:
        """What is published now.

        Raises:
            FleetError: Something in the store is not to be trusted.
        """
        anchor = self.settings.folder / ANCHOR
        content = anchor.read_bytes()
        found = read_trusted(self.store, content)
        if (newest := to_bytes(found.root)) != content:
            with atomic_path(anchor) as temporary:
                temporary.write_bytes(newest)
        return found

    def models(self) -> list[tuple[str, str]]:
        """(target, model) of every list that is published."""
        found = self.trusted().delegated
        return [(target, model) for target, each in sorted(found.items())
                for model in listing.models_of(target, each.signed)]

    def rows(self, target: str, model: str) -> ReleaseList:
        """The releases of a model, highest counter first; empty where there are none.

        Raises:
            FleetError: There is no such target, or something in the store is not to be trusted.
        """
        return listing.read_rows(self.store, target, model, self._family(self.trusted(), target).signed)

    def highest_counter(self, target: str, model: str) -> int:
        """The highest counter that was ever taken, whatever became of it; 0: none."""
        return self._highest(target, model, self.rows(target, model), key=None)

    def release(
        self, target: str, model: str, rows: ReleaseList, *, entry: Entry, files: Mapping[str, bytes] | None = None
    ) -> bool:
        """Make `rows` the releases of a model.

        The same change again is not done again; one that was interrupted is carried out.

        Args:
            target: Whose devices.
            model: The registered model.
            rows: The whole list; see `releases` for what it may become.
            entry: For the journal; its `key` says which change it is (default: made from what it does).
            files: Target path (`card.onnx`) -> model file, of what is not in the store yet.

        Returns:
            True when devices get it; False where it waits for the approver's signature.

        Raises:
            FleetError: Somebody else was faster, a key is not at hand, or the list makes no sense. Nothing was changed.
            StorageError: A file could not be written. Devices see the old list; the same call goes on.
        """
        entry = replace(entry, target=target, model=model,
                        key=entry.key or listing.key_of(entry.kind, target, model, rows))
        with self.locked():
            trusted = self.settled()
            old = self._family(trusted, target)
            lines = self.journal.lines()
            if any(line.stage == "done" and line.entry.key == entry.key for line in lines):
                return True
            waits = pending.get(self.settings.folder, target)
            if waits is not None and waits.entry.key == entry.key:
                return False
            now = listing.read_rows(self.store, target, model, old.signed)
            listing.see_that_it_follows(target, model, now, rows, self._highest(target, model, now, key=entry.key))
            writer, signed = self.writer(), deepcopy(old.signed)
            written = listing.write_rows(
                self.store, target, model, signed, rows, files or {}, issued=stamp(self.clock()), change=entry.key
            )
            metadata = writer.target(target, signed, trusted.targets.signed)
            if not self.settings.approval:
                writer.see_threshold(target, metadata, trusted.targets.signed)
            if not any(line.entry.key == entry.key for line in lines):
                self.journal.append(entry, "intent")
            if self.settings.approval:
                waits = pending.Waiting(entry, old.signed.version, metadata, written)
                pending.put(self.settings.folder, waits)
                return False
            self._publish(writer, trusted, entry, metadata, written)
            return True

    def approve(self, target: str, who: str, why: str = "") -> Entry:
        """Give the second signature to what waits for it, and publish it.

        Raises:
            FleetError: Nothing waits, the approver's key is not at hand, or what was published meanwhile differs.
        """
        with self.locked():
            trusted = self.settled()
            old = self._family(trusted, target)
            waits = pending.get(self.settings.folder, target)
            if waits is None:
                raise FleetError(f"nothing waits for approval in {target}")
            if waits.base != old.signed.version:
                raise FleetError(f"{target} was changed since this was proposed: delete "
                                 f"{self.settings.folder / 'pending' / target} and publish again")
            writer, metadata = self.writer(), waits.metadata
            for signer in self.keys.signers(key.keyid for key in self.keys.of(target + APPROVER)):
                metadata.sign(signer, append=True)
            writer.see_threshold(target, metadata, trusted.targets.signed)
            keys = tuple(key.keyid for key in self.keys.of(target + APPROVER) if key.keyid in metadata.signatures)
            self.journal.append(replace(waits.entry, kind="approved", when=stamp(self.clock()), who=who, why=why,
                                        keys=keys, key=f"approved {waits.entry.key}"))
            self._publish(writer, trusted, waits.entry, metadata, waits.files)
            pending.drop(self.settings.folder, target)
            return waits.entry

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else on this machine changes the repository inside the block."""
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.settings.folder / "lock", mode=0o600, fallback_to_soft=False):
            yield

    def see_journal(self, trusted: Trusted) -> int:
        """Hold the journal to what the snapshot says of it; returns its number of lines.

        Raises:
            FleetError: A line was changed or cut off.
        """
        return self.journal.verify(str(trusted.snapshot.signed.unrecognized_fields.get(JOURNAL, "")))

    def writer(self) -> Writer:
        """Who signs now."""
        return Writer(self.store, self.keys, self.settings, self.clock())

    def settled(self) -> Trusted:
        """What is published now, after a look for what a crash left; inside `locked` only.

        Raises:
            FleetError: Something in the store is not to be trusted.
        """
        trusted = self.trusted()
        self._settle(trusted)
        return trusted

    def _publish(
        self, writer: Writer, trusted: Trusted, entry: Entry, metadata: Metadata[Targets], files: Mapping[str, bytes]
    ) -> None:
        writer.write(trusted, Change(delegated={entry.target: metadata}, files=files), self.journal.head())
        self.journal.append(replace(entry, keys=tuple(metadata.signatures)))

    def _settle(self, trusted: Trusted) -> None:
        """Write down as done what was signed and published before a crash."""
        for entry in self.journal.unfinished():
            if entry.kind in ("rotated", "revoked") and entry.keys[0] in _keys_in_use(trusted):
                self.journal.append(entry)
            elif not entry.model or (target := trusted.delegated.get(entry.target)) is None:
                continue
            elif listing.change_of(entry.target, entry.model, target.signed) == entry.key:
                self.journal.append(replace(entry, keys=tuple(target.signatures)))
                waits = pending.get(self.settings.folder, entry.target)
                if waits is not None and waits.entry.key == entry.key:
                    pending.drop(self.settings.folder, entry.target)

    def _highest(self, target: str, model: str, now: ReleaseList, *, key: str | None) -> int:
        listed = [row.release.counter for row in now]
        written = [line.entry.counter for line in self.journal.lines()
                   if (line.entry.target, line.entry.model) == (target, model) and line.entry.key != key]
        return max([0, *listed, *written])

    @staticmethod
    def _family(trusted: Trusted, target: str) -> Metadata[Targets]:
        if target not in trusted.delegated:
            known = ", ".join(sorted(trusted.delegated)) or "none"
            raise FleetError(f"there is no device target {target!r:.120} (there are: {known})")
        return trusted.delegated[target]


def _keys_in_use(trusted: Trusted) -> set[str]:
    delegations = trusted.targets.signed.delegations
    return {*trusted.root.signed.keys, *(delegations.keys if delegations else ())}
