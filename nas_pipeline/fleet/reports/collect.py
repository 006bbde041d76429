"""Takes reports that lie in a drop: a folder, or a prefix of a bucket. A bad one is put aside with the reason."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.reports.drop import Drop
from nas_pipeline.fleet.reports.intake import Answer
from nas_pipeline.fleet.reports.signed import MAX_BYTES

logger = logging.getLogger(__name__)

ASIDE = "quarantine"
"""Folder of the drop for what was not taken."""
_NAME = re.compile(r"([a-z0-9][a-z0-9_-]{0,99})-(\d{1,16})\.json")
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Collected:
    """What became of what lay there."""

    taken: int
    aside: tuple[str, ...]
    """`NAME: reason`."""
    left: bool
    """Whether there was more than one pass takes."""


def collect(drop: Drop, take: Callable[[bytes], Answer]) -> Collected:
    """Take what lies in `drop`, each device's reports in their order, and remove it from there once it is kept.

    A file is removed after its report is in the database, so a crash in between leaves one that is known already.
    """
    names = sorted((name for name in drop.names() if not name.startswith(f"{ASIDE}/")), key=_order)
    taken, aside = 0, []
    for name in names[:_AT_ONCE]:
        content = drop.read(name, MAX_BYTES + 1)
        if content is None:
            continue  # another collector has it
        answer = take(content) if _NAME.fullmatch(name) else Answer(False, "not_an_envelope", "no name of a report")
        if answer.taken:
            taken += answer.reason == "taken"
        else:
            aside.append(f"{name[:120]!a}: {answer.reason}")
            logger.warning("%s is put aside: %s", ascii(name[:120]), answer.reason)
            place = f"{ASIDE}/{re.sub(r'[^a-z0-9._-]', '_', name[:120]).lstrip('.') or '_'}"
            drop.write(place, content[:MAX_BYTES])
            drop.write(f"{place}.why", f"{answer.reason}: {answer.detail}\n".encode(errors="backslashreplace"))
        drop.remove(name)
    return Collected(taken, tuple(aside), len(names) > _AT_ONCE)


def _order(name: str) -> tuple[str, int, str]:
    found = _NAME.fullmatch(name)
    return (found[1], int(found[2]), name) if found else (name, 0, name)


def see_that_it_is_no_part_of(drop: str, store: str) -> None:
    """A drop is written to by devices: it must not lie where the signed files do.

    Raises:
        FleetError: It does.
    """
    inside = drop.rstrip("/") == store.rstrip("/") or drop.startswith(store.rstrip("/") + "/")
    if "://" not in drop and "://" not in store:
        inside = Path(drop).resolve().is_relative_to(Path(store).resolve())
    if inside:
        raise FleetError(f"the drop {drop} lies inside the store of signed files: devices write to a drop, so give it "
                         "another place")
