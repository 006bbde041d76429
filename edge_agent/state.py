"""What the agent has to remember over a power cut: one small JSON file, on the disk before the next step begins."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from edge_agent.failpoints import reach

PHASES = ("idle", "checked", "downloaded", "verified", "staged", "probation", "passed")


@dataclass(slots=True)
class State:
    """`phase` and `work` say how far an installation got; a committed or given-up one leaves "idle" and no work."""

    phase: str = "idle"
    work: dict[str, Any] = field(default_factory=dict)
    """counter, sha256, tries, code, figures of the release that is being installed."""
    counter: int = 0
    """Highest that was installed."""
    sha256: str = ""
    """Of the file that came into use with it."""
    floor: str = ""
    """`issued` of the newest metadata that was accepted."""
    quarantine: dict[str, int] = field(default_factory=dict)
    """Digest to the counter of its last try."""
    seq: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    """What happened and is not in the outbox yet."""
    reported: float = 0.0
    """When the last report was made; seconds since 1970."""
    refusal: str = ""
    """The last one that was reported: the same one is not reported at each poll."""

    def save(self, folder: Path) -> None:
        """Put it on the disk.

        Raises:
            OSError: It cannot be written; the one before is still there.
        """
        write_atomic(folder / "state.json", json.dumps(asdict(self)).encode())


def load(folder: Path) -> State | None:
    """What was remembered; None: nothing, or nothing that makes sense. Then the slots say what is in use."""
    try:
        value = json.loads((folder / "state.json").read_bytes())
        state = State(**value)
        if any(type(getattr(state, item.name)) is not type(getattr(State(), item.name)) for item in fields(State)):
            return None
        return state if state.phase in PHASES else None
    except (OSError, ValueError, TypeError):
        return None


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file: whoever looks, also after a power cut, finds the old content or the new one.

    Raises:
        OSError: It cannot be written; the old content is still there.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            reach(f"write:{'outbox' if path.parent.name == 'outbox' else path.name}")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """What a folder lists (or a file holds) is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
