"""What came about, and what a rollback goes back to, follow from the events and the champion."""

from __future__ import annotations

import pytest

from nas_pipeline.registry.history import Event, Kind, came_about, in_use


def events(*given: tuple[Kind, str, str]) -> list[Event]:
    """(kind, version, champion before) in order."""
    return [
        Event(kind, f"2026-01-0{number}T00:00:00.000000Z", "ann", "", version, before, "", "", "")
        for number, (kind, version, before) in enumerate(given, start=1)
    ]


@pytest.mark.parametrize(("given", "champion", "took", "used"), [
    ([], "", [], []),
    ([], "7", [], ["7"]),
    ([("promoted", "1", "")], "1", [True], ["1"]),
    ([("promoted", "1", "")], "", [False], []),
    ([("promoted", "1", ""), ("promoted", "2", "1")], "2", [True, True], ["1", "2"]),
    ([("promoted", "1", ""), ("promoted", "2", "1")], "1", [True, False], ["1"]),
    ([("promoted", "1", ""), ("promoted", "2", "1"), ("promoted", "2", "1")], "2", [True, False, True], ["1", "2"]),
    ([("promoted", "1", ""), ("refused", "2", "1"), ("promoted", "3", "1")], "3", [True, True, True], ["1", "3"]),
    ([("promoted", "1", ""), ("promoted", "2", "1"), ("rolled back", "1", "2")], "1", [True] * 3, ["1"]),
    ([("promoted", "1", ""), ("promoted", "2", "1"), ("rolled back", "1", "2")], "2", [True, True, False], ["1", "2"]),
    (
        [("promoted", "1", ""), ("promoted", "2", "1"), ("promoted", "3", "2"), ("rolled back", "2", "3"),
         ("rolled back", "1", "2")],
        "1", [True] * 5, ["1"],
    ),
    (
        [("promoted", "1", ""), ("promoted", "2", "1"), ("rolled back", "1", "2"), ("promoted", "3", "1")],
        "3", [True] * 4, ["1", "3"],
    ),
    ([("promoted", "1", ""), ("promoted", "3", "2")], "3", [False, True], ["2", "3"]),
    ([("promoted", "1", "")], "5", [False], ["5"]),
])
def test_what_happened(given: list[tuple[Kind, str, str]], champion: str, took: list[bool], used: list[str]) -> None:
    assert came_about(events(*given), champion) == took
    assert in_use(events(*given), champion) == used


def test_keys_sort_by_time_and_differ() -> None:
    first, second = events(("promoted", "1", ""), ("promoted", "2", "1"))
    assert first.key < second.key
    assert first.key != Event(**{**first.to_json(), "version": "9"}).key
