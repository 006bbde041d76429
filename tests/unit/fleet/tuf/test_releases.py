from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.wire import WHOLE
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.releases import added, newest, next_counter, returned, settled, widened, withdrawn
from tests.unit.fleet.toy_fleet import SHARES, listed


def test_devices_outside_the_wave_retain_the_old_release() -> None:
    old, new = listed(3, "a" * 64, index=2), listed(4, "c" * 64)
    rows = added((old,), new)
    assert rows == (new, old)
    assert newest(rows) is new
    assert settled(rows) is old


def test_the_same_file_replaces_the_old_entry() -> None:
    assert added((listed(3, "a" * 64, index=2),), listed(4, "a" * 64)) == (listed(4, "a" * 64),)


@pytest.mark.parametrize(("rows", "new", "word"), [
    ((listed(3, "a" * 64, index=2),), listed(3, "c" * 64), "not above 3"),
    ((listed(4, "c" * 64), listed(3, "a" * 64, index=2)), listed(5, "d" * 64), "is in progress"),
])
def test_invalid_additions_are_refused(rows: tuple, new: object, word: str) -> None:
    with pytest.raises(FleetError, match=word):
        added(rows, new)  # type: ignore[arg-type]


def test_widening_goes_through_every_wave_and_ends_with_one_release() -> None:
    rows = added((listed(3, "a" * 64, index=2),), listed(4, "c" * 64))
    seen = []
    while not rows[0].whole:
        rows = widened(rows)
        seen.append(rows[0].release.wave.share)
    assert seen == list(SHARES[1:])
    assert [row.sha256[0] for row in rows] == ["c"]
    with pytest.raises(FleetError, match="nothing to widen"):
        widened(rows)


def test_a_rollback_has_a_higher_counter_and_is_for_every_device() -> None:
    old, new = listed(3, "a" * 64, index=2), listed(4, "c" * 64, index=1)
    (restored,) = returned((new, old), old, 5)
    assert (restored.release.counter, restored.card.counter) == (5, 5)
    assert (restored.sha256, restored.whole) == (old.sha256, True)
    with pytest.raises(FleetError, match="counter 4 is not above 4"):
        returned((new, old), old, 4)


def test_a_withdrawn_file_is_gone() -> None:
    old, new = listed(3, "a" * 64, index=2), listed(4, "c" * 64)
    assert withdrawn((new, old), new.sha256) == (old,)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["add", "widen", "restored"]), max_size=30))
def test_counters_only_grow_and_a_list_has_at_most_two_releases(steps: list[str]) -> None:
    rows, highest, count = (listed(1, "0" * 64, index=2),), 1, 0
    for step in steps:
        before = {row.release.counter for row in rows}
        try:
            if step == "add":
                count += 1
                rows = added(rows, listed(next_counter(rows, highest), "123456789abcdef"[count % 15] * 64))
            elif step == "widen":
                rows = widened(rows)
            else:
                rows = returned(rows, settled(rows) or rows[0], next_counter(rows, highest))
        except FleetError:
            continue
        now = {row.release.counter for row in rows}
        assert max(now) >= max(before)
        assert len(rows) <= 2
        assert all(counter in before or counter > highest for counter in now)
        highest = max(highest, *now)
        assert rows[0].release.wave.share == WHOLE or settled(rows) is not None or len(rows) == 1
