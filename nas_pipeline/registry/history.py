"""Events of a registered model, and the sequence of champions that follows from them. Pure functions.

An event is written before the alias `champion` moves, and the alias is moved last. An event therefore may not have
taken effect: the promotion was interrupted between the two writes. The next event shows whether it did.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nas_pipeline.core.files import canonical_json, sha256_text

Kind = Literal["promoted", "refused", "rolled back"]


@dataclass(frozen=True, slots=True)
class PromotionEvent:
    """One promotion, refusal or rollback. `when` is ISO 8601 in UTC, so events sort as text."""

    kind: Kind
    when: str
    who: str
    why: str
    version: str
    """The version that was to become champion."""
    before: str
    """The champion at that time; empty where there was none."""
    evidence: str
    """Path of the gate results among the artefacts of `run_id`; empty for a rollback."""
    run_id: str
    summary: str
    """`16 gates green`, or the red ones."""

    @property
    def key(self) -> str:
        """A key that sorts by time and differs for two events of the same time."""
        return f"{self.when}-{sha256_text(canonical_json(asdict(self)))[:6]}"

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)


def took_effect(events: Sequence[PromotionEvent], champion: str) -> list[bool]:
    """Returns for each event, oldest first, whether it took effect. `champion` is the version in use now, or empty.

    A promotion or rollback took effect if its version was the champion at the time of the next one; the last one, if
    its version is the champion now. A refusal always takes effect.
    """
    moves = [index for index, event in enumerate(events) if event.kind != "refused"]
    later = {index: events[after].before for index, after in itertools.pairwise(moves)}
    if moves:
        later[moves[-1]] = champion
    return [event.kind == "refused" or later[index] == event.version for index, event in enumerate(events)]


def champion_stack(events: Sequence[PromotionEvent], champion: str) -> list[str]:
    """Returns the champions that rollbacks return to, oldest first; the last one is in use now.

    A promotion pushes a version, a rollback pops one: two rollbacks in a row go back by two versions.
    """
    stack: list[str] = []
    for event, done in zip(events, took_effect(events, champion), strict=True):
        if event.kind == "refused" or not done:
            continue
        if event.before and stack[-1:] != [event.before]:
            stack.append(event.before)  # the alias was moved by hand
        if event.kind == "rolled back" and event.version in stack:
            del stack[stack.index(event.version) + 1:]
        elif stack[-1:] != [event.version]:
            stack.append(event.version)
    if champion and stack[-1:] != [champion]:
        stack.append(champion)
    return stack
