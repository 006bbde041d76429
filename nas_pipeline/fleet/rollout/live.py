"""The releases that were offered at a given time: versions, devices, publishers, approvers. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edge_agent.contract.wire import WHOLE
from nas_pipeline.fleet.tuf.journal import JournalEntry

Seen = tuple[str, str, int, str]
"""A device report: device, time (ISO 8601, UTC), highest installed counter, sha256 of the file in use."""


@dataclass(frozen=True, slots=True)
class LiveRelease:
    """One release that was offered at the time."""

    version: str
    counter: int
    sha256: str
    share: int
    """Share of the fleet that it was offered to, in 1/10,000."""
    since: str
    """Time of its first offer."""
    who: str
    why: str
    approved_by: tuple[str, ...]
    devices: tuple[str, ...]
    """Devices whose last report before that time names this file and counter."""


@dataclass(frozen=True, slots=True)
class Live:
    """The state of a model at one time."""

    releases: tuple[LiveRelease, ...]
    """Highest counter first."""
    elsewhere: dict[str, str]
    """Device -> sha256 of a file in use that belongs to none of the releases; empty: no model."""


def live_at(entries: Iterable[JournalEntry], reports: Iterable[Seen], when: str, *, target: str, model: str) -> Live:
    """Computes the state of a model at one time from the journal and the reports.

    Args:
        entries: Entries of the journal, oldest first.
        reports: Reports of the target's devices, in any order.
        when: The time (ISO 8601, UTC, with Z).
        target: The target.
        model: The registered model.
    """
    history = [entry for entry in entries if entry.when <= when and (entry.target, entry.model) == (target, model)]
    approvals: dict[str, list[str]] = {}
    for entry in history:
        if entry.kind == "approved":
            approvals.setdefault(entry.key.removeprefix("approved "), []).append(entry.who)
    offered: dict[int, LiveRelease] = {}
    for entry in history:
        if entry.kind in ("published", "rolled back"):
            new = LiveRelease(entry.version, entry.counter, entry.sha256, entry.share, entry.when, entry.who, entry.why,
                              tuple(approvals.get(entry.key, ())), ())
            offered = {entry.counter: new} if entry.share == WHOLE else {**offered, entry.counter: new}
        elif entry.kind == "widened" and entry.counter in offered:
            wider = replace(offered[entry.counter], share=entry.share)
            offered = {entry.counter: wider} if entry.share == WHOLE else {**offered, entry.counter: wider}
        elif entry.kind in ("stopped", "withdrawn"):
            offered = {counter: release for counter, release in offered.items() if release.sha256 != entry.sha256}
    last: dict[str, Seen] = {}
    for seen in sorted((seen for seen in reports if seen[1] <= when), key=lambda seen: seen[1]):
        last[seen[0]] = seen
    releases = tuple(
        replace(release, devices=tuple(sorted(
            device for device, _, counter, sha256 in last.values()
            if (counter, sha256) == (release.counter, release.sha256)
        )))
        for _, release in sorted(offered.items(), reverse=True)
    )
    assigned = {device for release in releases for device in release.devices}
    return Live(releases, {device: seen[3] for device, seen in sorted(last.items()) if device not in assigned})
