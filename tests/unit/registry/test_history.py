"""Which events took effect, and the champions that rollbacks return to."""

from __future__ import annotations

import pytest

from nas_pipeline.registry.history import Kind, PromotionEvent, champion_stack, took_effect


def events(*rows: tuple[Kind, str, str]) -> list[PromotionEvent]:
    """(kind, version, champion before) in order."""
    return [
        PromotionEvent(kind, f"2026-01-0{number}T00:00:00.000000Z", "ann", "", version, before, "", "", "")
        for number, (kind, version, before) in enumerate(rows, start=1)
    ]


@pytest.mark.parametrize(("rows", "champion", "took", "used"), [
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
def test_what_happened(rows: list[tuple[Kind, str, str]], champion: str, took: list[bool], used: list[str]) -> None:
    assert took_effect(events(*rows), champion) == took
    assert champion_stack(events(*rows), champion) == used


def test_keys_sort_by_time_and_differ() -> None:
    first, second = events(("promoted", "1", ""), ("promoted", "2", "1"))
    assert first.key < second.key
    assert first.key != PromotionEvent(**{**first.to_json(), "version": "9"}).key
