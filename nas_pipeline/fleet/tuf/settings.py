"""Settings of a fleet: location of the signed files, lifetime of signatures, waves of a roll-out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent.contract.wire import WHOLE

RELEASES_ROLE = "releases"
"""Key in `expiry_days` for all delegated roles, one per target."""


def utc_now() -> datetime:
    """Returns the current time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def stamp(when: datetime) -> str:
    """Formats a time as ISO 8601 in UTC, to the second, with `Z`."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _days() -> dict[str, int]:
    return {"root": 365, "targets": 90, RELEASES_ROLE: 90, "snapshot": 7, "timestamp": 7}


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """Settings of one fleet."""

    store: str
    """A folder, or s3://BUCKET/PREFIX. Devices download from its URL."""
    folder: Path
    """The publisher's folder: journal.jsonl, keys.json, root.json, pending/."""
    keys: Path
    """Folder of the private key files."""
    target_names: tuple[str, ...] = ()
    """The targets of params.yaml."""
    expiry_days: Mapping[str, int] = field(default_factory=_days)
    """Lifetime of signatures in days: root, targets, releases (the delegated roles), snapshot, timestamp."""
    waves: tuple[int, ...] = (100, 500, 2500, 5000, WHOLE)
    """Increasing shares of the fleet, in 1/10,000."""
    approval: bool = False
    """Release lists need a second signature, by the approver's key."""
    hardware: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Target -> hardware tags, of which a device needs one. Default: the name of the target."""
    memory_mb: float = 256.0
    """Upper bound on the memory that a model adds to a process on the device, in MB."""
    min_agent: str = "0.1.0"
    rollout: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `rollout.RolloutRules`."""
