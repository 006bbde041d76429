"""The rules of a roll-out: what widens a wave, what stops it, and that nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.wire import WHOLE
from nas_pipeline.fleet.rollout.state_machine import (
    DeviceOutcome,
    Finished,
    RolloutEvent,
    RolloutRules,
    RolloutState,
    Stop,
    StopRecorded,
    Wait,
    WaveMember,
    Widen,
    apply_event,
    decide,
    initial_state,
    outcome_of,
    tally,
)
from nas_pipeline.fleet.tuf.releases import widened
from tests.unit.fleet.toy_fleet import NEW, NOW, OLD, at, listed, report

FLEET = [WaveMember(f"d{number:03}", NOW) for number in range(100)]
RULES = RolloutRules()


def state(index: int = 0, fleet: list[WaveMember] | None = None) -> RolloutState:
    new = initial_state((listed(2, index=index), listed(1, OLD, 2)), NOW, FLEET if fleet is None else fleet)
    assert new is not None
    return new


def reported(wave: RolloutState, failed: int, ok: int | None = None) -> RolloutState:
    members = sorted(wave.members)
    for index, device in enumerate(members[: None if ok is None else failed + ok]):
        wave = apply_event(wave, DeviceOutcome(device, 1, index >= failed))
    return wave


def test_nothing_published_is_no_state() -> None:
    assert initial_state((), NOW, FLEET) is None


def test_a_wave_has_the_devices_that_its_signed_share_admits() -> None:
    small, half, whole = state(0), state(1), state(2)
    assert 0 < len(small.members) < len(half.members) < len(whole.members) == 100
    assert small.members < half.members
    assert half.added == half.members - small.members
    assert small.added == small.members


def test_widens_after_enough_ok_reports_and_hours() -> None:
    wave = reported(state(1), 0)
    assert isinstance(decide(wave, RULES, at(0.5)), Wait)
    assert isinstance(decide(wave, RULES, at(1)), Widen)
    assert isinstance(decide(reported(state(2), 0), RULES, at(1)), Finished)


def test_too_few_reports_wait_without_a_time_limit() -> None:
    wave = reported(state(1), 0, 20)
    answer = decide(wave, RULES, at(24 * 365))
    assert isinstance(answer, Wait)
    assert "ok from 20 of" in answer.reason


def test_above_the_threshold_stops_at_once() -> None:
    wave = state(1)
    size = len(wave.members)
    assert isinstance(decide(reported(wave, int(0.05 * size)), RULES, at(1)), Widen), "at the threshold is not above it"
    answer = decide(reported(wave, int(0.05 * size) + 1), RULES, at(0))
    assert isinstance(answer, Stop)
    assert "at most 5.0% are allowed" in answer.reason


def test_failures_among_the_added_devices_are_counted_separately() -> None:
    wave = state(2)
    for device in sorted(wave.members):
        wave = apply_event(wave, DeviceOutcome(device, 1, True))
    for device in sorted(wave.added)[:5]:
        wave = apply_event(wave, DeviceOutcome(device, 2, False))
    counts = tally(wave, RULES, NOW)
    assert counts.failed / counts.members <= 0.05
    answer = decide(wave, RULES, at(9))
    assert isinstance(answer, Stop)
    assert "the devices that the wave added" in answer.reason


def test_a_failure_among_few_reports_waits_but_never_widens() -> None:
    wave = reported(state(1), 1, 1)
    assert isinstance(decide(wave, RULES, at(9)), Wait)
    strict = replace(RULES, max_failed=0)
    assert isinstance(decide(wave, strict, at(0)), Stop)
    lenient = replace(RULES, success_share=0.01)
    assert isinstance(decide(wave, lenient, at(9)), Wait)


def test_a_wave_smaller_than_min_reports_is_judged_after_all_reports() -> None:
    wave = state(2, FLEET[:2])
    assert isinstance(decide(reported(wave, 1, 0), RULES, at(9)), Wait)
    assert isinstance(decide(reported(wave, 1, 1), RULES, at(9)), Stop)


def test_a_wave_without_devices_passes_and_a_fleet_without_devices_does_not() -> None:
    outside = [member for member in FLEET if member.device not in state(0).members]
    assert isinstance(decide(state(0, outside), RULES, at(2)), Widen)
    for index in range(3):
        assert isinstance(decide(state(index, []), RULES, at(1000)), Wait)


def test_silent_devices_are_counted_and_never_ok() -> None:
    fleet = [replace(member, seen=None if number % 2 else at(-49)) for number, member in enumerate(FLEET)]
    wave = state(2, fleet)
    assert tally(wave, RULES, NOW).silent == 100
    assert isinstance(decide(wave, RULES, at(1000)), Wait)
    counts = tally(reported(wave, 0, 79), RULES, NOW)
    assert (counts.ok, counts.silent, counts.waiting) == (79, 21, 0)
    assert isinstance(decide(reported(wave, 0, 79), RULES, at(9)), Wait)
    assert isinstance(decide(reported(wave, 0, 80), RULES, at(9)), Finished)


def test_a_device_that_failed_and_installed_later_is_ok() -> None:
    wave = state(2, FLEET[:1])
    wave = apply_event(apply_event(wave, DeviceOutcome("d000", 5, True)), DeviceOutcome("d000", 4, False))
    assert isinstance(decide(wave, RULES, at(2)), Finished)
    wave = apply_event(wave, DeviceOutcome("d000", 6, False, "crashed"))
    assert isinstance(decide(wave, RULES, at(2)), Stop)


@pytest.mark.parametrize(("event", "more", "ok"), [
    ("installed", {}, True),
    ("current", {"about": {}}, True),
    ("current", {"about": {}, "sha256": OLD}, None),
    ("current", {"about": {}, "counter": 1}, None),
    ("installed", {"counter": 3}, None),
    ("failed", {"code": "too_slow"}, False),
    ("failed", {"code": "too_slow", "counter": 1, "about": {"counter": 2}}, False),
    ("quarantined", {"code": "crashed"}, False),
    ("reverted", {"code": "crashed"}, False),
    ("reverted", {"about": {"counter": 1}}, None),
    ("refused", {"code": "wrong_hardware"}, False),
    ("refused", {"code": "unreachable"}, None),
    ("refused", {"code": "unsafe_model", "about": {}}, None),
    ("failed", {"about": {"counter": "2"}}, None),
])
def test_the_outcome_in_a_report(event: str, more: dict[str, object], ok: bool | None) -> None:
    outcome = outcome_of(report("d1", 7, event, **more), listed(2).release, NEW)
    assert (None if outcome is None else outcome.ok) is ok


EVENTS = st.lists(st.builds(DeviceOutcome, st.sampled_from([member.device for member in FLEET[:12]]), st.integers(1, 6),
                            st.booleans(), st.sampled_from(["", "crashed"])), max_size=40)
ANY_RULES = st.builds(RolloutRules, st.floats(0, 0.5), st.integers(1, 6), st.floats(0, 1), st.floats(0, 3),
                      st.none() | st.integers(0, 3))


def folded(wave: RolloutState, events: list[RolloutEvent]) -> RolloutState:
    for event in events:
        wave = apply_event(wave, event)
    return wave


@given(EVENTS, st.randoms(use_true_random=False), ANY_RULES)
@settings(max_examples=80, deadline=None)
def test_the_order_of_reports_does_not_matter(events: list[DeviceOutcome], chance: object, rules: RolloutRules) -> None:
    mixed = [*events, *events[:3]]
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    wave = state(1, FLEET[:12])
    assert folded(wave, [*events]) == folded(wave, [*mixed])


@given(EVENTS, ANY_RULES, st.integers(0, 2), st.floats(0, 100))
@settings(max_examples=150, deadline=None)
def test_never_widens_above_the_threshold_nor_before_its_time(
    events: list[DeviceOutcome], rules: RolloutRules, index: int, hours: float
) -> None:
    wave = folded(state(index, FLEET[:12]), [*events])
    answer, counts = decide(wave, rules, at(hours)), tally(wave, rules, at(hours))
    assert counts.waiting >= 0
    if isinstance(answer, Widen | Finished):
        outcomes = counts.ok + counts.failed
        assert not outcomes or counts.failed / outcomes <= rules.error_share
        assert rules.max_failed is None or counts.failed <= rules.max_failed
        assert not counts.members or counts.ok / counts.members >= rules.success_share
        assert hours >= rules.min_hours
        assert isinstance(answer, Finished) == (index == 2)


@given(EVENTS, EVENTS, ANY_RULES, st.floats(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_stop_is_final_for_its_counter(
    before: list[DeviceOutcome], later: list[DeviceOutcome], rules: RolloutRules, hours: float
) -> None:
    wave = folded(state(1, FLEET[:12]), [*before, StopRecorded("enough"), *later])
    assert decide(wave, rules, at(hours)) == Stop("enough")


@given(st.lists(st.integers(1, WHOLE - 1), min_size=1, max_size=6, unique=True))
@settings(max_examples=40, deadline=None)
def test_shares_only_grow_and_no_device_leaves_a_wave(shares: list[int]) -> None:
    rows = (listed(2, shares=(*sorted(shares), WHOLE)), listed(1, OLD, 2))
    members: frozenset[str] = frozenset()
    for _ in shares:
        wave = initial_state(rows, NOW, FLEET)
        assert wave is not None
        assert members <= wave.members
        members, share = wave.members, rows[0].release.wave.share
        rows = widened(rows)
        assert rows[0].release.wave.share > share
    assert [row.release.counter for row in rows] == [2]
