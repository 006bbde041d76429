"""Changes that wait for a second signature: one at a time per target, in the fleet's folder, with all their files."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from tuf.api.metadata import Metadata, Targets
from tuf.api.serialization import DeserializationError

from nas_pipeline.core.files import atomic_directory, read_json, write_json
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.journal import Entry
from nas_pipeline.fleet.tuf.roles import to_bytes

_CHANGE, _SIGNED = "change.json", "target.json"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A list of releases with the publisher's signature."""

    entry: Entry
    base: int
    """Version of the target's list that it was made from."""
    metadata: Metadata[Targets]
    files: dict[str, bytes]
    """Name in the store -> content."""


def put(folder: Path, waiting: Waiting) -> None:
    """Let it wait; what the target had waiting is replaced."""
    with atomic_directory(folder / "pending" / waiting.entry.target) as place:
        for index, content in enumerate(waiting.files.values()):
            (place / f"{index}.bin").write_bytes(content)
        (place / _SIGNED).write_bytes(to_bytes(waiting.metadata))
        told = {"entry": asdict(waiting.entry), "base": waiting.base, "files": list(waiting.files)}
        write_json(place / _CHANGE, told)


def get(folder: Path, target: str) -> Waiting | None:
    """What waits for the approver of `target`.

    Raises:
        FleetError: It cannot be read.
    """
    place = folder / "pending" / target
    if not (place / _CHANGE).is_file():
        return None
    try:
        value = read_json(place / _CHANGE)
        told = value["entry"]
        files = {str(name): (place / f"{index}.bin").read_bytes() for index, name in enumerate(value["files"])}
        metadata: Metadata[Targets] = Metadata.from_bytes((place / _SIGNED).read_bytes())
        return Waiting(Entry(**{**told, "keys": tuple(told["keys"])}), int(value["base"]), metadata, files)
    except (OSError, ValueError, KeyError, TypeError, DeserializationError) as error:
        raise FleetError(f"{place} cannot be read ({error}): delete it and publish again") from error


def drop(folder: Path, target: str) -> None:
    """Nothing waits any more."""
    shutil.rmtree(folder / "pending" / target, ignore_errors=True)


def waiting(folder: Path) -> list[str]:
    """Families for which something waits."""
    return sorted(path.parent.name for path in (folder / "pending").glob(f"*/{_CHANGE}"))
