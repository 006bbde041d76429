"""The roll-out's rules: what widens a wave, what stops it, and that nothing else does."""

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
    found = initial_state((listed(2, index=index), listed(1, OLD, 2)), NOW, FLEET if fleet is None else fleet)
    assert found is not None
    return found


def told(begun: RolloutState, failed: int, ok: int | None = None) -> RolloutState:
    members = sorted(begun.members)
    for place, device in enumerate(members[: None if ok is None else failed + ok]):
        begun = apply_event(begun, DeviceOutcome(device, 1, place >= failed))
    return begun


def test_nothing_published_is_no_state() -> None:
    assert initial_state((), NOW, FLEET) is None


def test_a_wave_has_the_devices_that_its_signed_share_admits() -> None:
    small, half, whole = state(0), state(1), state(2)
    assert 0 < len(small.members) < len(half.members) < len(whole.members) == 100
    assert small.members < half.members
    assert half.added == half.members - small.members
    assert small.added == small.members


def test_widens_when_enough_say_ok_and_the_hours_are_over() -> None:
    begun = told(state(1), 0)
    assert isinstance(decide(begun, RULES, at(0.5)), Wait)
    assert isinstance(decide(begun, RULES, at(1)), Widen)
    assert isinstance(decide(told(state(2), 0), RULES, at(1)), Finished)


def test_too_few_words_wait_however_long() -> None:
    begun = told(state(1), 0, 20)
    answer = decide(begun, RULES, at(24 * 365))
    assert isinstance(answer, Wait)
    assert "ok from 20 of" in answer.reason


def test_above_the_threshold_stops_at_once() -> None:
    begun = state(1)
    size = len(begun.members)
    assert isinstance(decide(told(begun, int(0.05 * size)), RULES, at(1)), Widen), "at the threshold is not above it"
    answer = decide(told(begun, int(0.05 * size) + 1), RULES, at(0))
    assert isinstance(answer, Stop)
    assert "at most 5.0% are allowed" in answer.reason


def test_failures_of_the_devices_that_the_wave_added_are_not_thinned_by_those_before() -> None:
    begun = state(2)
    for device in sorted(begun.members):
        begun = apply_event(begun, DeviceOutcome(device, 1, True))
    for device in sorted(begun.added)[:5]:
        begun = apply_event(begun, DeviceOutcome(device, 2, False))
    counts = tally(begun, RULES, NOW)
    assert counts.failed / counts.members <= 0.05
    answer = decide(begun, RULES, at(9))
    assert isinstance(answer, Stop)
    assert "the devices that the wave added" in answer.reason


def test_one_failure_of_few_waits_for_more_words_but_never_widens() -> None:
    begun = told(state(1), 1, 1)
    assert isinstance(decide(begun, RULES, at(9)), Wait)
    strict = replace(RULES, max_failed=0)
    assert isinstance(decide(begun, strict, at(0)), Stop)
    lenient = replace(RULES, success_share=0.01)
    assert isinstance(decide(begun, lenient, at(9)), Wait)


def test_a_wave_smaller_than_min_reports_is_judged_once_all_have_spoken() -> None:
    begun = state(2, FLEET[:2])
    assert isinstance(decide(told(begun, 1, 0), RULES, at(9)), Wait)
    assert isinstance(decide(told(begun, 1, 1), RULES, at(9)), Stop)


def test_a_wave_without_devices_passes_and_a_fleet_without_devices_does_not() -> None:
    outside = [each for each in FLEET if each.device not in state(0).members]
    assert isinstance(decide(state(0, outside), RULES, at(2)), Widen)
    for index in range(3):
        assert isinstance(decide(state(index, []), RULES, at(1000)), Wait)


def test_silent_devices_are_counted_and_never_ok() -> None:
    fleet = [replace(each, seen=None if number % 2 else at(-49)) for number, each in enumerate(FLEET)]
    begun = state(2, fleet)
    assert tally(begun, RULES, NOW).silent == 100
    assert isinstance(decide(begun, RULES, at(1000)), Wait)
    counts = tally(told(begun, 0, 79), RULES, NOW)
    assert (counts.ok, counts.silent, counts.waiting) == (79, 21, 0)
    assert isinstance(decide(told(begun, 0, 79), RULES, at(9)), Wait)
    assert isinstance(decide(told(begun, 0, 80), RULES, at(9)), Finished)


def test_a_device_that_failed_and_installed_later_is_ok() -> None:
    begun = state(2, FLEET[:1])
    begun = apply_event(apply_event(begun, DeviceOutcome("d000", 5, True)), DeviceOutcome("d000", 4, False))
    assert isinstance(decide(begun, RULES, at(2)), Finished)
    begun = apply_event(begun, DeviceOutcome("d000", 6, False, "crashed"))
    assert isinstance(decide(begun, RULES, at(2)), Stop)


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
def test_what_a_report_says_of_a_release(event: str, more: dict[str, object], ok: bool | None) -> None:
    said = outcome_of(report("d1", 7, event, **more), listed(2).release, NEW)
    assert (None if said is None else said.ok) is ok


EVENTS = st.lists(st.builds(DeviceOutcome, st.sampled_from([each.device for each in FLEET[:12]]), st.integers(1, 6),
                            st.booleans(), st.sampled_from(["", "crashed"])), max_size=40)
ANY_RULES = st.builds(RolloutRules, st.floats(0, 0.5), st.integers(1, 6), st.floats(0, 1), st.floats(0, 3),
                      st.none() | st.integers(0, 3))


def folded(begun: RolloutState, events: list[RolloutEvent]) -> RolloutState:
    for event in events:
        begun = apply_event(begun, event)
    return begun


@given(EVENTS, st.randoms(use_true_random=False), ANY_RULES)
@settings(max_examples=80, deadline=None)
def test_the_order_of_reports_does_not_matter(events: list[DeviceOutcome], chance: object, rules: RolloutRules) -> None:
    mixed = [*events, *events[:3]]
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    begun = state(1, FLEET[:12])
    assert folded(begun, [*events]) == folded(begun, [*mixed])


@given(EVENTS, ANY_RULES, st.integers(0, 2), st.floats(0, 100))
@settings(max_examples=150, deadline=None)
def test_never_widens_above_the_threshold_nor_before_its_time(
    events: list[DeviceOutcome], rules: RolloutRules, index: int, hours: float
) -> None:
    begun = folded(state(index, FLEET[:12]), [*events])
    answer, counts = decide(begun, rules, at(hours)), tally(begun, rules, at(hours))
    assert counts.waiting >= 0
    if isinstance(answer, Widen | Finished):
        heard = counts.ok + counts.failed
        assert not heard or counts.failed / heard <= rules.error_share
        assert rules.max_failed is None or counts.failed <= rules.max_failed
        assert not counts.members or counts.ok / counts.members >= rules.success_share
        assert hours >= rules.min_hours
        assert isinstance(answer, Finished) == (index == 2)


@given(EVENTS, EVENTS, ANY_RULES, st.floats(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_stop_is_final_for_its_counter(
    before: list[DeviceOutcome], later: list[DeviceOutcome], rules: RolloutRules, hours: float
) -> None:
    begun = folded(state(1, FLEET[:12]), [*before, StopRecorded("enough"), *later])
    assert decide(begun, rules, at(hours)) == Stop("enough")


@given(st.lists(st.integers(1, WHOLE - 1), min_size=1, max_size=6, unique=True))
@settings(max_examples=40, deadline=None)
def test_shares_only_grow_and_nobody_leaves_a_wave(shares: list[int]) -> None:
    rows = (listed(2, shares=(*sorted(shares), WHOLE)), listed(1, OLD, 2))
    members: frozenset[str] = frozenset()
    for _ in shares:
        begun = initial_state(rows, NOW, FLEET)
        assert begun is not None
        assert members <= begun.members
        members, share = begun.members, rows[0].release.wave.share
        rows = widened(rows)
        assert rows[0].release.wave.share > share
    assert [row.release.counter for row in rows] == [2]
