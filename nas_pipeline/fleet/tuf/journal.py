"""The journal of a fleet: an append-only file in which each line contains the digest of the previous one.

A change has an `intent` line before its first write and a `done` line after its last one. An incomplete last line, left
by a crash, is dropped. A line that was changed, removed or inserted breaks the chain; the error names it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from edge_agent.contract.wire import canonical
from nas_pipeline.core.failpoints import reach
from nas_pipeline.core.files import fsync_path
from nas_pipeline.errors import FleetError, StorageError

FILE = "journal.jsonl"
NO_LINE = "0" * 64
"""Digest of the previous line in the first line."""

KINDS = (
    "init", "published", "widened", "stopped", "rolled back", "withdrawn", "approved", "rotated", "revoked", "resigned",
    "champion", "device",
)

JournalStage = Literal["intent", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One change of the fleet."""

    kind: str
    """One of `KINDS`."""
    when: str
    """ISO 8601, UTC."""
    who: str
    why: str = ""
    target: str = ""
    model: str = ""
    version: str = ""
    """Of the registered model."""
    counter: int = 0
    sha256: str = ""
    bundle: str = ""
    share: int = 0
    """Share of the fleet to which the release is offered from now on, in 1/10,000."""
    keys: tuple[str, ...] = ()
    """Ids of the keys that signed, or that were replaced."""
    key: str = ""
    """Identifies the change: a completed change with the same key is not repeated."""


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One line of the file."""

    number: int
    stage: JournalStage
    entry: JournalEntry
    digest: str
    """sha256 of the line."""


class Journal:
    """The journal in a fleet's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def append(self, entry: JournalEntry, stage: JournalStage = "done") -> None:
        """Appends a line and flushes it to the disk.

        Raises:
            FleetError: The kind is unknown, or the chain of the existing lines is broken.
            StorageError: The line cannot be written; the journal is unchanged.
        """
        if entry.kind not in KINDS:
            raise FleetError(f"{entry.kind!r} is not a kind of journal entry; valid kinds: {', '.join(KINDS)}")
        try:
            self._append(entry, stage)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written ({error.strerror}): nothing was changed") from error

    def lines(self) -> list[JournalLine]:
        """Returns all complete lines, oldest first.

        Raises:
            FleetError: A line does not follow from the previous one.
        """
        return list(_lines(self.path, self._content()))

    def entries(self) -> tuple[JournalEntry, ...]:
        """Returns the completed changes, oldest first.

        Raises:
            FleetError: A line does not follow from the previous one.
        """
        return tuple(line.entry for line in self.lines() if line.stage == "done")

    def unfinished(self) -> tuple[JournalEntry, ...]:
        """Returns the changes without a `done` line that no later change of the same model or role superseded."""
        pending: dict[str, JournalEntry] = {}
        for line in self.lines():
            pending.pop(line.entry.key, None)
            if line.stage == "intent":
                pending[line.entry.key] = line.entry
            else:
                subject = _subject(line.entry)
                pending = {key: entry for key, entry in pending.items() if _subject(entry) != subject}
        return tuple(pending.values())

    def verify(self, head: str = "") -> int:
        """Verifies the chain; returns the number of lines.

        Args:
            head: Digest of a line that must exist; the signed snapshot contains one.

        Raises:
            FleetError: A line was changed, or the line with the digest `head` is missing.
        """
        lines = self.lines()
        if head and head != NO_LINE and head not in {line.digest for line in lines}:
            raise FleetError(
                f"{self.path}: no line has the digest {head[:16]}... of the signed snapshot: lines at the end were "
                "changed or cut off; restore the file from a copy"
            )
        return len(lines)

    def head(self) -> str:
        """Returns the digest of the last line."""
        lines = self.lines()
        return lines[-1].digest if lines else NO_LINE

    def _append(self, entry: JournalEntry, stage: JournalStage) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), fallback_to_soft=False):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                content = self._content()
                whole = content[: content.rfind(b"\n") + 1]
                before = NO_LINE
                for line in _lines(self.path, whole):
                    before = line.digest
                text = canonical({"before": before, "stage": stage, "entry": asdict(entry)}) + b"\n"
                try:
                    os.ftruncate(descriptor, len(whole))  # what a crash left of a line
                    reach(f"journal_{stage}")
                    os.pwrite(descriptor, text, len(whole))
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, len(whole))
                    raise
            finally:
                os.close(descriptor)
        fsync_path(self.path.parent)

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""


def _subject(entry: JournalEntry) -> tuple[str, ...]:
    """Returns what a change concerns: (target, model) of a list, or the role whose keys changed."""
    return (entry.target, entry.model) if entry.model else tuple(entry.key.split()[1:2])


def _lines(path: Path, content: bytes) -> Iterator[JournalLine]:
    previous, names = NO_LINE, {field.name for field in fields(JournalEntry)}
    for number, text in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            value: dict[str, Any] = json.loads(text)
            stage, fields_of_entry = value["stage"], value["entry"]
            follows = value["before"] == previous and canonical(value) == text
            complete = set(fields_of_entry) == names
            entry = (JournalEntry(**{**fields_of_entry, "keys": tuple(fields_of_entry["keys"])}) if complete else None)
        except (ValueError, KeyError, TypeError, AttributeError):
            follows, entry, stage = False, None, "done"
        if not follows or entry is None:
            raise FleetError(
                f"{path} line {number} does not follow from line {number - 1}: one of the two was changed, removed or "
                "inserted; restore the file from a copy"
            )
        previous = hashlib.sha256(text).hexdigest()
        yield JournalLine(number, stage, entry, previous)
