"""Release lists and their changes, as pure functions.

A device runs the release with the highest counter whose wave admits it. A list therefore has at most two releases: the
new one, and the previous one for devices outside the wave. Counters only increase: a rollback publishes an old file
under a new counter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_agent.contract.wire import WHOLE, ModelCard, Release, Wave
from nas_pipeline.errors import FleetError


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """One release: the decision in `custom` of its model file, and its model card in release.json."""

    release: Release
    card: ModelCard

    @property
    def sha256(self) -> str:
        """Digest of the model file."""
        return self.card.sha256

    @property
    def whole(self) -> bool:
        """Whether the release is offered to every device."""
        return self.release.wave.share == WHOLE


ReleaseList = tuple[ReleaseEntry, ...]
"""Highest counter first."""


def newest(rows: Sequence[ReleaseEntry]) -> ReleaseEntry | None:
    """Returns the release with the highest counter; None if the list is empty."""
    return max(rows, key=lambda row: row.release.counter, default=None)


def settled(rows: Sequence[ReleaseEntry]) -> ReleaseEntry | None:
    """Returns the newest release that is offered to every device, which devices outside the wave run."""
    return newest([row for row in rows if row.whole])


def next_counter(rows: Sequence[ReleaseEntry], highest: int = 0) -> int:
    """Returns a counter above all listed ones and above `highest`, the highest one in the journal."""
    return max([highest, *(row.release.counter for row in rows)]) + 1


def added(rows: Sequence[ReleaseEntry], new: ReleaseEntry) -> ReleaseList:
    """Returns the list with a new release above the one that every device may have.

    Raises:
        FleetError: Its counter is not the highest, or a roll-out is in progress.
    """
    top = newest(rows)
    if top is not None and new.release.counter <= top.release.counter:
        raise FleetError(f"release {new.release.counter} is not above {top.release.counter}, the published one")
    if top is not None and not top.whole:
        raise FleetError(
            f"the roll-out of release {top.release.counter} is in progress ({top.release.wave.share / 100:g} % of the "
            "fleet): complete it or roll it back before you start another one"
        )
    if top is not None and top.sha256 == new.sha256:
        return (new,)  # the same file: no device downloads anything, so the old entry is not needed
    return (new, top) if top is not None and not new.whole else (new,)


def widened(rows: Sequence[ReleaseEntry]) -> ReleaseList:
    """Returns the list with the newest release offered to the next wave. In the last wave it is the only release.

    Raises:
        FleetError: The list is empty, or the newest release is offered to every device already.
    """
    top = newest(rows)
    if top is None or top.whole:
        raise FleetError("no roll-out is in progress: there is nothing to widen")
    wave = top.release.wave
    wider = replace(top, release=replace(top.release, wave=replace(wave, index=wave.index + 1)))
    return (wider,) if wider.whole else (wider, *(row for row in rows if row is not top))


def returned(
    rows: Sequence[ReleaseEntry], good: ReleaseEntry, counter: int, *, lift_quarantine: bool = False
) -> ReleaseList:
    """Returns a list that offers `good`, a listed or an earlier release, to every device under a new counter.

    Raises:
        FleetError: `counter` is not above all listed ones.
    """
    top = newest(rows)
    if top is not None and counter <= top.release.counter:
        raise FleetError(f"counter {counter} is not above {top.release.counter}: a rollback needs a new counter")
    wave = Wave(good.release.wave.salt, (WHOLE,), 0)
    release = replace(good.release, counter=counter, wave=wave, lift_quarantine=lift_quarantine)
    return (ReleaseEntry(release, replace(good.card, counter=counter)),)


def withdrawn(rows: Sequence[ReleaseEntry], sha256: str) -> ReleaseList:
    """Returns the list without a file."""
    return tuple(row for row in rows if row.sha256 != sha256)
