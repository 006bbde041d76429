"""What happened to a registered model: events, and what follows from them. Pure.

An event is written before the alias `champion` moves, and the alias is moved last of all. So an event may never have
come about: a promotion was interrupted in between. Whether it did follows from what came after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nas_pipeline.core.files import canonical_json, sha256_text

Kind = Literal["promoted", "refused", "rolled back"]


@dataclass(frozen=True, slots=True)
class Event:
    """One attempt. `when` is ISO 8601 in UTC; it sorts as text."""

    kind: Kind
    when: str
    who: str
    why: str
    version: str
    """The version that was to be champion."""
    before: str
    """The champion at that moment; empty where there was none."""
    evidence: str
    """Path of the gates' answers among the artefacts of `run_id`; empty for a rollback."""
    run_id: str
    summary: str
    """`16 gates green`, or the red ones."""

    @property
    def key(self) -> str:
        """Sorts by time; two at the same moment differ."""
        return f"{self.when}-{sha256_text(canonical_json(asdict(self)))[:6]}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def came_about(events: Sequence[Event], champion: str) -> list[bool]:
    """For each event, oldest first, whether it took effect. `champion` is the version in use now, or empty.

    A promotion or rollback took effect if the next one found its version in use; the last one, if it is in use now.
    A refusal always did.
    """
    moves = [index for index, event in enumerate(events) if event.kind != "refused"]
    found = {index: events[after].before for index, after in itertools.pairwise(moves)}
    if moves:
        found[moves[-1]] = champion
    return [event.kind == "refused" or found[index] == event.version for index, event in enumerate(events)]


def in_use(events: Sequence[Event], champion: str) -> list[str]:
    """Champions, oldest first, that a rollback would go back through; the last one is in use now.

    A promotion puts a version on top, a rollback takes the top away: so two rollbacks go back by two.
    """
    stack: list[str] = []
    for event, done in zip(events, came_about(events, champion), strict=True):
        if event.kind == "refused" or not done:
            continue
        if event.before and stack[-1:] != [event.before]:
            stack.append(event.before)  # somebody moved the alias by hand
        if event.kind == "rolled back" and event.version in stack:
            del stack[stack.index(event.version) + 1:]
        elif stack[-1:] != [event.version]:
            stack.append(event.version)
    if champion and stack[-1:] != [champion]:
        stack.append(champion)
    return stack
