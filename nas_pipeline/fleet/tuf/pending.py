"""Changes that wait for the approver's signature: at most one per target, in the fleet's folder, with their files."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from tuf.api.metadata import Metadata, Targets
from tuf.api.serialization import DeserializationError

from nas_pipeline.core.files import atomic_directory, read_json, write_json
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.roles import to_bytes

_CHANGE, _SIGNED = "change.json", "target.json"


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A release list with the publisher's signature, without the approver's."""

    entry: JournalEntry
    base: int
    """Version of the target's metadata from which the change was made."""
    metadata: Metadata[Targets]
    files: dict[str, bytes]
    """Name in the store -> content."""


def write(folder: Path, change: PendingChange) -> None:
    """Stores the pending change of a target; replaces an earlier one."""
    with atomic_directory(folder / "pending" / change.entry.target) as directory:
        for index, content in enumerate(change.files.values()):
            (directory / f"{index}.bin").write_bytes(content)
        (directory / _SIGNED).write_bytes(to_bytes(change.metadata))
        write_json(directory / _CHANGE, {
            "entry": asdict(change.entry), "base": change.base, "files": list(change.files),
        })


def read(folder: Path, target: str) -> PendingChange | None:
    """Returns the pending change of a target; None if there is none.

    Raises:
        FleetError: It cannot be read.
    """
    directory = folder / "pending" / target
    if not (directory / _CHANGE).is_file():
        return None
    try:
        value = read_json(directory / _CHANGE)
        entry = JournalEntry(**{**value["entry"], "keys": tuple(value["entry"]["keys"])})
        files = {str(name): (directory / f"{index}.bin").read_bytes() for index, name in enumerate(value["files"])}
        metadata: Metadata[Targets] = Metadata.from_bytes((directory / _SIGNED).read_bytes())
        return PendingChange(entry, int(value["base"]), metadata, files)
    except (OSError, ValueError, KeyError, TypeError, DeserializationError) as error:
        raise FleetError(f"{directory} cannot be read ({error}): delete it and publish again") from error


def remove(folder: Path, target: str) -> None:
    """Deletes the pending change of a target."""
    shutil.rmtree(folder / "pending" / target, ignore_errors=True)


def pending_targets(folder: Path) -> list[str]:
    """Returns the targets that have a pending change, sorted."""
    return sorted(path.parent.name for path in (folder / "pending").glob(f"*/{_CHANGE}"))
