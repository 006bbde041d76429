"""The version that was live on a given day, its devices, and its approver."""

from __future__ import annotations

from typing import Any

from nas_pipeline.fleet.rollout.live import live_at
from nas_pipeline.fleet.tuf.journal import JournalEntry

A, B = "a" * 64, "b" * 64


def _entry(kind: str, day: int, counter: int, sha256: str, share: int, **more: Any) -> JournalEntry:
    return JournalEntry(kind=kind, when=f"2026-05-{day:02}T12:00:00Z", who="alice", target="pi", model="m",
                 version=f"v{counter}", counter=counter, sha256=sha256, share=share, **more)


STORY = [
    _entry("published", 1, 1, A, 10_000), _entry("approved", 2, 2, B, 100, key="approved k2"),
    _entry("published", 2, 2, B, 100, key="k2"), _entry("widened", 4, 2, B, 10_000),
    _entry("rolled back", 6, 3, A, 10_000),
]
REPORTS = [("d1", "2026-05-01T13:00:00Z", 1, A), ("d2", "2026-05-01T13:00:00Z", 1, A),
           ("d1", "2026-05-02T13:00:00Z", 2, B), ("d3", "2026-05-02T13:00:00Z", 0, ""),
           ("d2", "2026-05-09T13:00:00Z", 3, A)]


def _at(day: int) -> dict[int, tuple[int, tuple[str, ...], tuple[str, ...]]]:
    live = live_at(STORY, REPORTS, f"2026-05-{day:02}T23:59:59Z", target="pi", model="m")
    return {release.counter: (release.share, release.devices, release.approved_by) for release in live.releases}


def test_the_live_release_of_each_day() -> None:
    assert _at(1) == {1: (10_000, ("d1", "d2"), ())}
    assert _at(3) == {2: (100, ("d1",), ("alice",)), 1: (10_000, ("d2",), ())}
    assert _at(5) == {2: (10_000, ("d1",), ("alice",))}
    assert _at(9) == {3: (10_000, ("d2",), ())}


def test_devices_that_run_something_else_are_named() -> None:
    live = live_at(STORY, REPORTS, "2026-05-05T00:00:00Z", target="pi", model="m")
    assert live.elsewhere == {"d2": A, "d3": ""}
    assert not live_at(STORY, REPORTS, "2026-04-01T00:00:00Z", target="pi", model="m").releases
