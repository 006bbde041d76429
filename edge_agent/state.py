"""The persistent state of the agent: one small JSON file, written before each next step begins."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from edge_agent.disk import write_atomic

PHASES = ("idle", "checked", "downloaded", "verified", "staged", "probation", "passed")


@dataclass(slots=True)
class AgentState:
    """Content of state.json.

    `phase` and `work` describe the progress of an installation; between installations they are "idle" and empty.
    """

    phase: str = "idle"
    work: dict[str, Any] = field(default_factory=dict)
    """counter, sha256, tries and figures of the release that is being installed."""
    counter: int = 0
    """Highest counter that was installed."""
    sha256: str = ""
    """Digest of the file that was installed with it."""
    floor: str = ""
    """`issued` of the newest accepted metadata."""
    quarantine: dict[str, int] = field(default_factory=dict)
    """Digest -> counter of its last try."""
    seq: int = 0
    """Number of the last report."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Events that are not in the outbox yet."""
    reported: float = 0.0
    """Time of the last report; seconds since 1970."""
    refusal: str = ""
    """The last refusal that was reported; the same refusal is not reported at each poll."""

    def save(self, folder: Path) -> None:
        """Writes state.json.

        Raises:
            OSError: It cannot be written; the previous content is unchanged.
        """
        write_atomic(folder / "state.json", json.dumps(asdict(self)).encode())


def load(folder: Path) -> AgentState | None:
    """Reads state.json; returns None if it is missing or invalid."""
    try:
        value = json.loads((folder / "state.json").read_bytes())
        state, default = AgentState(**value), AgentState()
        if any(type(getattr(state, item.name)) is not type(getattr(default, item.name)) for item in fields(default)):
            return None
        return state if state.phase in PHASES else None
    except (OSError, ValueError, TypeError):
        return None
