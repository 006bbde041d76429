"""Which version was live at a moment, on which devices, who published and who approved it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edge_agent.contract.wire import WHOLE
from nas_pipeline.fleet.tuf.journal import JournalEntry

Seen = tuple[str, str, int, str]
"""A device's report: device, time (ISO 8601, UTC), highest counter that it installed, sha256 of the file in use."""


@dataclass(frozen=True, slots=True)
class LiveRelease:
    """One release that was offered at that moment."""

    version: str
    counter: int
    sha256: str
    share: int
    """Of the fleet that could have it, in 1/10,000."""
    since: str
    """When it was offered first."""
    who: str
    why: str
    approved_by: tuple[str, ...]
    devices: tuple[str, ...]
    """Whose last report until then says that they run this file under this counter."""


@dataclass(frozen=True, slots=True)
class Live:
    """A model at one moment."""

    releases: tuple[LiveRelease, ...]
    """Highest counter first."""
    elsewhere: dict[str, str]
    """Device -> sha256 of a file in use that is none of these; empty: no model."""


def live_at(entries: Iterable[JournalEntry], reports: Iterable[Seen], when: str, *, target: str, model: str) -> Live:
    """What journal and reports say of the moment `when` (ISO 8601, UTC, with Z).

    Args:
        entries: Of the journal, oldest first.
        reports: Of the target's devices, in any order.
        when: The moment.
        target: Whose releases.
        model: Of which model.
    """
    told = [entry for entry in entries if entry.when <= when and (entry.target, entry.model) == (target, model)]
    approvals: dict[str, list[str]] = {}
    for entry in told:
        if entry.kind == "approved":
            approvals.setdefault(entry.key.removeprefix("approved "), []).append(entry.who)
    offered: dict[int, LiveRelease] = {}
    for entry in told:
        if entry.kind in ("published", "rolled back"):
            new = LiveRelease(entry.version, entry.counter, entry.sha256, entry.share, entry.when, entry.who, entry.why,
                              tuple(approvals.get(entry.key, ())), ())
            offered = {entry.counter: new} if entry.share == WHOLE else {**offered, entry.counter: new}
        elif entry.kind == "widened" and entry.counter in offered:
            wider = replace(offered[entry.counter], share=entry.share)
            offered = {entry.counter: wider} if entry.share == WHOLE else {**offered, entry.counter: wider}
        elif entry.kind in ("stopped", "withdrawn"):
            offered = {counter: each for counter, each in offered.items() if each.sha256 != entry.sha256}
    last: dict[str, Seen] = {}
    for seen in sorted((seen for seen in reports if seen[1] <= when), key=lambda seen: seen[1]):
        last[seen[0]] = seen
    releases = tuple(
        replace(each, devices=tuple(sorted(
            device for device, _, counter, sha256 in last.values() if (counter, sha256) == (each.counter, each.sha256)
        )))
        for _, each in sorted(offered.items(), reverse=True)
    )
    placed = {device for each in releases for device in each.devices}
    return Live(releases, {device: seen[3] for device, seen in sorted(last.items()) if device not in placed})
