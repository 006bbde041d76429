"""The text of promotion, rollback and history, from records."""

from __future__ import annotations

from nas_pipeline.actions.promotion import HistoryEvent, ModelHistory
from nas_pipeline.cli.promotion import history_lines, history_rows, promotion_lines, rollback_line
from nas_pipeline.core.records import GateResult
from nas_pipeline.registry.history import PromotionEvent
from nas_pipeline.registry.promote import Promoted


def test_a_promotion_lists_its_gates_and_the_previous_version() -> None:
    promoted = Promoted("toy--rpi", "3", "2", True, (GateResult("accuracy", True, 0.951234567, 0.9, "paired test"),))
    gate, result = promotion_lines(promoted)
    assert gate.split() == ["green", "accuracy", "0.951235", "bound", "0.9", "paired", "test"]
    assert result == "toy--rpi: version 3 is champion; version 2 is previous"


def test_a_first_champion_has_no_previous_version() -> None:
    assert list(promotion_lines(Promoted("toy--rpi", "1", "", True, ()))) == ["toy--rpi: version 1 is champion"]


def test_a_repeated_promotion_changes_nothing() -> None:
    assert list(promotion_lines(Promoted("toy--rpi", "3", "3", False, ()))) == [
        "toy--rpi: version 3 is the champion already"
    ]


def test_a_rollback_names_both_versions() -> None:
    line = rollback_line(Promoted("toy--rpi", "2", "3", True, ()))
    assert line == "toy--rpi: version 2 is champion again; version 3 is withdrawn"


def event(kind: str, version: str, why: str = "") -> PromotionEvent:
    return PromotionEvent(kind, "2026-01-02T03:04:05.678901+00:00", "ada", why, version, "", "gates.json", "r1",  # type: ignore[arg-type]  # a Literal
                 "16 gates green")


def test_the_history_is_text_or_json() -> None:
    promotion, interrupted = event("promoted", "1", "better"), event("promoted", "2")
    history = ModelHistory(
        "toy--rpi", "1", "", "2", (HistoryEvent(promotion, True), HistoryEvent(interrupted, False)),
    )
    lines = list(history_lines(history))
    assert lines[0] == "toy--rpi: champion 1, previous none, candidate 2"
    assert lines[1:4] == [
        "2026-01-02T03:04:05Z  promoted version 1", "  by ada: better", "  16 gates green; gates.json in run r1",
    ]
    assert lines[4:6] == ["2026-01-02T03:04:05Z  promoted version 2 (interrupted)", "  by ada: no reason given"]
    assert history_rows(history) == [
        {**promotion.to_json(), "came_about": True}, {**interrupted.to_json(), "came_about": False},
    ]
