"""What happened to the fleet, line by line, in a file that only grows; each line holds the digest of the one before.

A change is written down before it starts (`intent`) and when it has come about (`done`). A line that was cut off by a
crash was never relied on, and is dropped; a line that was changed, taken out or put in breaks the chain, and is named.
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
"""What the first line says of the one before."""

KINDS = (
    "init", "published", "widened", "stopped", "rolled back", "withdrawn", "approved", "rotated", "revoked", "resigned",
    "champion", "device",
)

Stage = Literal["intent", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One change."""

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
    """Of the fleet that may have the release from now on, in 1/10,000."""
    keys: tuple[str, ...] = ()
    """Ids of the keys that signed, or that the change is about."""
    key: str = ""
    """The same change has the same key: done once, it is not done again."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file."""

    number: int
    stage: Stage
    entry: Entry
    digest: str
    """sha256 of its text."""


class Journal:
    """The file in a fleet's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def append(self, entry: Entry, stage: Stage = "done") -> None:
        """Write a line; it is on the disk when this returns.

        Raises:
            FleetError: The kind is unknown, or the lines that are there do not hold together.
            StorageError: The disk does not take it; the journal is as before.
        """
        if entry.kind not in KINDS:
            raise FleetError(f"{entry.kind!r} is no kind of entry; there are: {', '.join(KINDS)}")
        try:
            self._append(entry, stage)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written ({error.strerror}): nothing was changed") from error

    def lines(self) -> list[Line]:
        """Every whole line, oldest first.

        Raises:
            FleetError: A line does not follow from the one before.
        """
        return list(_lines(self.path, self._content()))

    def entries(self) -> tuple[Entry, ...]:
        """What came about, oldest first.

        Raises:
            FleetError: A line does not follow from the one before.
        """
        return tuple(line.entry for line in self.lines() if line.stage == "done")

    def unfinished(self) -> tuple[Entry, ...]:
        """What was begun, and neither finished nor overtaken by a later change of the same model or role."""
        open_ones: dict[str, Entry] = {}
        for line in self.lines():
            open_ones.pop(line.entry.key, None)
            if line.stage == "intent":
                open_ones[line.entry.key] = line.entry
            else:
                about = _about(line.entry)
                open_ones = {key: entry for key, entry in open_ones.items() if _about(entry) != about}
        return tuple(open_ones.values())

    def verify(self, head: str = "") -> int:
        """Check the chain; returns the number of lines.

        Args:
            head: Digest of a line that has to be among them: the newest snapshot, which is signed, holds one.

        Raises:
            FleetError: A line was changed, or the line of `head` is missing: the end was cut off, or rewritten.
        """
        lines = self.lines()
        if head and head != NO_LINE and head not in {line.digest for line in lines}:
            raise FleetError(
                f"{self.path}: no line has the digest {head[:16]}... that the signed snapshot names, so lines at the "
                "end were changed or cut off: restore the file from a copy"
            )
        return len(lines)

    def head(self) -> str:
        """Digest of the last line."""
        lines = self.lines()
        return lines[-1].digest if lines else NO_LINE

    def _append(self, entry: Entry, stage: Stage) -> None:
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


def _about(entry: Entry) -> tuple[str, ...]:
    """What a change is of: a model's list, or a role's keys."""
    return (entry.target, entry.model) if entry.model else tuple(entry.key.split()[1:2])


def _lines(path: Path, content: bytes) -> Iterator[Line]:
    before, names = NO_LINE, {field.name for field in fields(Entry)}
    for number, text in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            value: dict[str, Any] = json.loads(text)
            stage, told = value["stage"], value["entry"]
            follows = value["before"] == before and canonical(value) == text
            entry = Entry(**{**told, "keys": tuple(told["keys"])}) if set(told) == names else None
        except (ValueError, KeyError, TypeError, AttributeError):
            follows, entry, stage = False, None, "done"
        if not follows or entry is None:
            raise FleetError(
                f"{path} line {number} does not follow from line {number - 1}: one of the two was changed, taken out "
                "or put in by hand; restore the file from a copy"
            )
        before = hashlib.sha256(text).hexdigest()
        yield Line(number, stage, entry, before)
