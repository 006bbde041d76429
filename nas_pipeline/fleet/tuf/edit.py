"""One change of a model's release list, made while the publisher's lock is held.

`Repository.edit` is the only way to change a list. It takes the lock and verifies the published metadata once; the
functions that decide on the new list and the code that signs it work on that one state:

    with repository.edit(target, model) as edit:
        new = returned(edit.release_list, good, next_counter(edit.release_list, edit.highest_counter))
        edit.sign(new, edit.entry("rolled back", new[0], who="alice", why="wrong predictions"))

The journal gets an `intent` line before the first write and a `done` line after the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tuf.api.metadata import Metadata, TargetFile, Targets

from edge_agent.contract import wire
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf import pending
from nas_pipeline.fleet.tuf.journal import JournalEntry, JournalLine
from nas_pipeline.fleet.tuf.release_list import CHANGE_FIELD, change_key, highest_counter
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, ReleaseList
from nas_pipeline.fleet.tuf.roles import Trusted, target_name
from nas_pipeline.fleet.tuf.settings import FleetSettings, stamp
from nas_pipeline.fleet.tuf.signing import APPROVER, Change, MetadataWriter

if TYPE_CHECKING:
    from nas_pipeline.fleet.tuf.repository import Repository


@dataclass(frozen=True, slots=True)
class Edit:
    """The state of one model's release list under the lock. Made by `Repository.edit`."""

    repository: Repository
    trusted: Trusted
    """The published metadata, verified."""
    target: str
    model: str
    release_list: ReleaseList
    """The published list, highest counter first."""
    lines: list[JournalLine] = field(repr=False)
    """The journal at the start of the edit."""

    @property
    def settings(self) -> FleetSettings:
        """The settings of the fleet."""
        return self.repository.settings

    @property
    def highest_counter(self) -> int:
        """The highest counter that was ever used for the model, in the list or in the journal; 0 if there is none."""
        return highest_counter(self.release_list, self._own_entries())

    def entry(self, kind: str, row: ReleaseEntry, *, who: str, why: str, key: str = "") -> JournalEntry:
        """Returns the journal entry of a change that concerns one release; `key`: see `sign`."""
        release = row.release
        return JournalEntry(
            kind=kind, when=stamp(self.repository.clock()), who=who, why=why, target=self.target, model=self.model,
            version=release.version, counter=release.counter, sha256=row.sha256, bundle=release.bundle,
            share=release.wave.share, key=key,
        )

    def sign(
        self, release_list: ReleaseList, entry: JournalEntry, *, files: Mapping[str, bytes] | None = None
    ) -> bool:
        """Signs and publishes a new release list.

        A change with the key of a completed one is not repeated; an interrupted one is completed.

        Args:
            release_list: The whole new list; `releases` has the functions that make one.
            entry: The journal entry. Its target and model are set here. A `key` identifies the change (default: a
                digest of the new list).
            files: Target path (`card.onnx`) -> model file, for the files that are not in the store yet.

        Returns:
            True if devices are offered the list now; False if it waits for the approver's signature.

        Raises:
            FleetError: The list does not follow from the published one, or a key is not available. Nothing is changed.
            StorageError: A file cannot be written. Devices see the old list; the same call completes the change.
        """
        key = entry.key or change_key(entry.kind, self.target, self.model, release_list)
        entry = replace(entry, target=self.target, model=self.model, key=key)
        if any(line.stage == "done" and line.entry.key == key for line in self.lines):
            return True
        if self.settings.approval:
            waiting = pending.read(self.settings.folder, self.target)
            if waiting is not None and waiting.entry.key == key:
                return False
        self._check_follows(release_list, key)
        targets, written = self._targets_with(release_list, files or {}, key)
        writer = self.repository.writer()
        metadata = writer.sign_target(self.target, targets, self.trusted.targets.signed)
        change = Change(delegated={self.target: metadata}, files=written)
        if not self.settings.approval:
            writer.check_thresholds(self.trusted, change)
        if not any(line.entry.key == key for line in self.lines):
            self.repository.journal.append(entry, "intent")
        if self.settings.approval:
            base = self.trusted.delegated[self.target].signed.version
            pending.write(self.settings.folder, pending.PendingChange(entry, base, metadata, written))
            return False
        self._publish(writer, entry, change, metadata)
        return True

    def approve(self, who: str, why: str = "") -> JournalEntry:
        """Adds the approver's signature to the pending change and publishes it; returns the entry of that change.

        Raises:
            FleetError: There is no pending change of this model, the approver's key is not available, or the published
                list was changed after the change was proposed.
        """
        repository, folder = self.repository, self.settings.folder
        waiting = pending.read(folder, self.target)
        if waiting is None or waiting.entry.model != self.model:
            raise FleetError(f"no change of {self.target} waits for approval")
        if waiting.base != self.trusted.delegated[self.target].signed.version:
            raise FleetError(f"the release list of {self.target} was changed after this change was proposed: delete "
                             f"{folder / 'pending' / self.target} and publish again")
        keyids = [key.keyid for key in repository.keys.keys_for(self.target + APPROVER)]
        for signer in repository.keys.signers(keyids):
            waiting.metadata.sign(signer, append=True)
        writer, change = repository.writer(), Change(delegated={self.target: waiting.metadata}, files=waiting.files)
        writer.check_thresholds(self.trusted, change)
        repository.journal.append(replace(
            waiting.entry, kind="approved", when=stamp(repository.clock()), who=who, why=why,
            keys=tuple(keyid for keyid in keyids if keyid in waiting.metadata.signatures),
            key=f"approved {waiting.entry.key}",
        ))
        self._publish(writer, waiting.entry, change, waiting.metadata)
        pending.remove(folder, self.target)
        return waiting.entry

    def _publish(
        self, writer: MetadataWriter, entry: JournalEntry, change: Change, metadata: Metadata[Targets]
    ) -> None:
        writer.write(self.trusted, change, self.repository.journal.head())
        self.repository.journal.append(replace(entry, keys=tuple(metadata.signatures)))

    def _own_entries(self) -> list[JournalEntry]:
        return [line.entry for line in self.lines if (line.entry.target, line.entry.model) == (self.target, self.model)]

    def _check_follows(self, release_list: ReleaseList, key: str) -> None:
        """Checks that the new list may replace the published one.

        A new release needs a counter above all earlier ones; of a published release only the wave may grow.

        Raises:
            FleetError: The list breaks a rule, or holds a release of another model.
        """
        published = {row.release.counter: row for row in self.release_list}
        # The interrupted attempt of the same change has the same counter.
        highest = highest_counter(self.release_list, [entry for entry in self._own_entries() if entry.key != key])
        for row in release_list:
            release, card = row.release, row.card
            label = f"release {release.counter} of {self.target}/{self.model}"
            try:
                wire.release_from(wire.custom_of(release))
                consistent = (card.onnx == wire.onnx_path(self.target, self.model, row.sha256)
                              and release.model == self.model and release.counter == card.counter
                              and release.golden == card.golden.sha256)
            except wire.WireError as error:
                raise FleetError(f"{label:.200}: {error}") from error
            if not consistent:
                raise FleetError(f"{label}: the decision and the model card do not belong together, or are of another "
                                 "model")
            old = published.get(release.counter)
            if old is None and release.counter <= highest:
                raise FleetError(f"{label}: the counter is not above {highest}, which was used meanwhile; run the "
                                 "command again")
            if old is not None and (card != old.card or replace(release, wave=old.release.wave) != old.release
                                    or release.wave.share < old.release.wave.share):
                raise FleetError(f"{label} is published: only its wave may grow. Any other change needs a new counter")

    def _targets_with(
        self, release_list: ReleaseList, files: Mapping[str, bytes], key: str
    ) -> tuple[Targets, dict[str, bytes]]:
        """Returns the target's role with the new list, and the files to write: name in the store -> content.

        Raises:
            FleetError: A model file is missing, or its hash differs from its name.
        """
        store = self.repository.store
        targets = deepcopy(self.trusted.delegated[self.target].signed)
        entries: dict[str, TargetFile] = {}
        written: dict[str, bytes] = {}
        for row in release_list:
            path = row.card.onnx
            name = target_name(path, row.sha256)
            content = files[path] if path in files else store.read(name)
            if content is None:
                raise FleetError(f"{path} is neither among the new files nor in the store: publish the version again")
            entries[path] = TargetFile.from_data(path, content, ["sha256"])
            if entries[path].hashes["sha256"] != row.sha256:
                raise FleetError(f"{path}: the sha256 of the file is {entries[path].hashes['sha256']}, not the one in "
                                 "its name")
            entries[path].unrecognized_fields["custom"] = wire.custom_of(row.release)
            if path in files:
                written[name] = content
        content = wire.releases_to(
            self.model, self.target, stamp(self.repository.clock()), tuple(row.card for row in release_list)
        )
        path = wire.release_path(self.target, self.model)
        entries[path] = TargetFile.from_data(path, content, ["sha256"])
        entries[path].unrecognized_fields["custom"] = {CHANGE_FIELD: key}
        written[target_name(path, entries[path].hashes["sha256"])] = content
        unchanged = {path: file for path, file in targets.targets.items()
                     if not path.startswith(f"{self.target}/{self.model}/")}
        targets.targets = unchanged | entries
        return targets, written
