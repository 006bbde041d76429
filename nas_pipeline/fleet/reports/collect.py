"""Collects reports from a drop. Rejected files are moved to the folder `quarantine` of the drop, with the reason."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.reports.drop import Drop
from nas_pipeline.fleet.reports.intake import IntakeAnswer
from nas_pipeline.fleet.reports.signed import MAX_BYTES

logger = logging.getLogger(__name__)

QUARANTINE = "quarantine"
"""Folder of the drop for rejected files."""
_NAME = re.compile(r"([a-z0-9][a-z0-9_-]{0,99})-(\d{1,16})\.json")
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Collected:
    """The result of one pass over a drop."""

    accepted: int
    """Number of new reports."""
    rejected: tuple[str, ...]
    """`NAME: reason` of each quarantined file."""
    incomplete: bool
    """Whether the drop holds more files than one pass processes."""


def collect(drop: Drop, accept: Callable[[bytes], IntakeAnswer]) -> Collected:
    """Passes the files in `drop` to `accept`, the reports of each device in their order, and removes them.

    A file is removed after its report is stored, so a crash in between leaves a duplicate, which is harmless.
    """
    names = sorted((name for name in drop.names() if not name.startswith(f"{QUARANTINE}/")), key=_order)
    accepted, rejected = 0, []
    for name in names[:_AT_ONCE]:
        content = drop.read(name, MAX_BYTES + 1)
        if content is None:
            continue  # another collector removed it
        answer = (accept(content) if _NAME.fullmatch(name)
                  else IntakeAnswer(False, "not_an_envelope", "the file name is not that of a report"))
        if answer.accepted:
            accepted += answer.reason == "taken"
        else:
            rejected.append(f"{name[:120]!a}: {answer.reason}")
            logger.warning("%s is quarantined: %s", ascii(name[:120]), answer.reason)
            path = f"{QUARANTINE}/{re.sub(r'[^a-z0-9._-]', '_', name[:120]).lstrip('.') or '_'}"
            drop.write(path, content[:MAX_BYTES])
            drop.write(f"{path}.why", f"{answer.reason}: {answer.detail}\n".encode(errors="backslashreplace"))
        drop.remove(name)
    return Collected(accepted, tuple(rejected), len(names) > _AT_ONCE)


def _order(name: str) -> tuple[str, int, str]:
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2]), name) if match else (name, 0, name)


def check_outside_store(drop: str, store: str) -> None:
    """Checks that a drop is outside the store of signed files, because devices can write to a drop.

    Raises:
        FleetError: The drop is inside the store.
    """
    inside = drop.rstrip("/") == store.rstrip("/") or drop.startswith(store.rstrip("/") + "/")
    if "://" not in drop and "://" not in store:
        inside = Path(drop).resolve().is_relative_to(Path(store).resolve())
    if inside:
        raise FleetError(f"the drop {drop} is inside the store of signed files. Devices can write to a drop: "
                         "use another place, outside the store")
