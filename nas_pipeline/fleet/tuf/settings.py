"""What the rooms of the fleet are told: where the signed files go, who signs for how long, how a roll-out grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent.contract.wire import WHOLE

RELEASES_ROLE = "releases"
"""In `expiry_days`: every delegated role, one per device target."""


def utc_now() -> datetime:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def stamp(when: datetime) -> str:
    """ISO 8601, UTC, to the second, with Z: as it is signed and written down."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _days() -> dict[str, int]:
    return {"root": 365, "targets": 90, RELEASES_ROLE: 90, "snapshot": 7, "timestamp": 7}


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """One fleet. A relative folder is below the folder of the project, or the current one."""

    store: str
    """A folder, or s3://BUCKET/PREFIX: what the devices' URL shows."""
    folder: Path
    """journal.jsonl, keys.json, root.json, pending/: what only the publisher has."""
    keys: Path
    """Private keys that are files."""
    target_names: tuple[str, ...] = ()
    """Kinds of devices; a target of params.yaml is one."""
    expiry_days: Mapping[str, int] = field(default_factory=_days)
    """root, targets, releases (the lists of releases), snapshot, timestamp."""
    waves: tuple[int, ...] = (100, 500, 2500, 5000, WHOLE)
    """Shares of the fleet, growing, in 1/10,000."""
    approval: bool = False
    """Lists of releases need a second signature, by the approver's key."""
    hardware: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Family -> tags of which a device has to have one; default: the target's name."""
    memory_mb: float = 256.0
    """What a model may add to the memory of a process on the device."""
    min_agent: str = "0.1.0"
    golden_images: int = 16
    rollout: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `rollout.RolloutRules`."""

    def tags(self, target: str) -> tuple[str, ...]:
        """Hardware that may run releases of `target`."""
        return self.hardware.get(target, (target,))
