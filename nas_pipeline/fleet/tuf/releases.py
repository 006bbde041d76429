"""The list of a model's releases, and every way in which it changes. Pure; the list is what gets signed.

A device runs the release with the highest counter whose wave admits it. So there are at most two: the new one, and the
one below it for devices that are not in the wave. Whatever changes the list has a higher counter than all before it:
rollback is roll-forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_agent.contract.wire import WHOLE, ModelCard, Release, Wave
from nas_pipeline.errors import FleetError


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """One release: the decisions in `custom` of its target, and its row in release.json."""

    release: Release
    card: ModelCard

    @property
    def sha256(self) -> str:
        """Of its file."""
        return self.card.sha256

    @property
    def whole(self) -> bool:
        """Whether every device may have it."""
        return self.release.wave.share == WHOLE


ReleaseList = tuple[ReleaseEntry, ...]
"""Highest counter first."""


def newest(rows: Sequence[ReleaseEntry]) -> ReleaseEntry | None:
    """The release with the highest counter."""
    return max(rows, key=lambda row: row.release.counter, default=None)


def settled(rows: Sequence[ReleaseEntry]) -> ReleaseEntry | None:
    """The release that every device may have: what those outside the wave run."""
    return newest([row for row in rows if row.whole])


def next_counter(rows: Sequence[ReleaseEntry], highest: int = 0) -> int:
    """Above all that are listed, and above `highest`, the highest ever published (from the journal)."""
    return max([highest, *(row.release.counter for row in rows)]) + 1


def added(rows: Sequence[ReleaseEntry], new: ReleaseEntry) -> ReleaseList:
    """`new` on top of what all devices may have.

    Raises:
        FleetError: Its counter is not the highest, or a roll-out is on its way.
    """
    top = newest(rows)
    if top is not None and new.release.counter <= top.release.counter:
        raise FleetError(f"release {new.release.counter} is not above {top.release.counter}, which is published")
    if top is not None and not top.whole:
        raise FleetError(
            f"the roll-out of release {top.release.counter} is on its way ({top.release.wave.share / 100:g} % of the "
            "fleet): widen it to the end, or roll back, before another one starts"
        )
    if top is not None and top.sha256 == new.sha256:
        return (new,)  # the same file: nobody has to fetch anything, and there is no other to keep
    return (new, top) if top is not None and not new.whole else (new,)


def widened(rows: Sequence[ReleaseEntry]) -> ReleaseList:
    """The newest release for the next wave; in the last one, it alone is left.

    Raises:
        FleetError: There is none, or it is for everyone already.
    """
    top = newest(rows)
    if top is None or top.whole:
        raise FleetError("no roll-out is on its way: there is nothing to widen")
    wave = top.release.wave
    wider = replace(top, release=replace(top.release, wave=replace(wave, index=wave.index + 1)))
    return (wider,) if wider.whole else (wider, *(row for row in rows if row is not top))


def returned(
    rows: Sequence[ReleaseEntry], to: ReleaseEntry, counter: int, *, lift_quarantine: bool = False
) -> ReleaseList:
    """`to`, a release of now or of earlier, for everyone under the new `counter`; everything else is taken away.

    Raises:
        FleetError: `counter` is not above all that are listed.
    """
    top = newest(rows)
    if top is not None and counter <= top.release.counter:
        raise FleetError(f"counter {counter} is not above {top.release.counter}: rollback is roll-forward")
    wave = Wave(to.release.wave.salt, (WHOLE,), 0)
    release = replace(to.release, counter=counter, wave=wave, lift_quarantine=lift_quarantine)
    return (ReleaseEntry(release, replace(to.card, counter=counter)),)


def withdrawn(rows: Sequence[ReleaseEntry], sha256: str) -> ReleaseList:
    """The list without a file: no device that does not have it gets it any more."""
    return tuple(row for row in rows if row.sha256 != sha256)
