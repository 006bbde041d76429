"""Selection of the best trials and of the Pareto front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas_pipeline.registry import trials


def trial(number: int, accuracy: float, cost: float, **more: Any) -> dict[str, Any]:
    metrics = {"val_accuracy": accuracy, "latency_ms": cost}
    return {"number": number, "state": "complete", "metrics": metrics, "violations": {}, **more}


def test_front_holds_what_no_other_beats() -> None:
    rows = [trial(0, 0.5, 1), trial(1, 0.4, 2), trial(2, 0.7, 3), trial(3, 0.7, 4), trial(4, 0.6, 1)]
    assert [row["number"] for row in trials.front(rows, "latency_ms")] == [4, 2]


def test_best_puts_feasible_first_and_leaves_out_failures() -> None:
    rows = [
        trial(0, 0.9, 1, violations={"size_bytes": 0.1}),
        trial(1, 0.5, 1),
        trial(2, 0.6, 1, violations={"size_bytes": -0.3}),
        trial(3, 0.99, 1, state="fail"),
        trial(4, float("nan"), 1),
    ]
    assert [row["number"] for row in trials.best(rows, 5)] == [2, 1, 0]
    assert [row["number"] for row in trials.best(rows, 1)] == [2]


@pytest.mark.parametrize("violations", [["over"], {"x": "over"}])
def test_a_violation_of_unknown_form_is_one(violations: Any) -> None:
    assert not trials.is_feasible(trial(0, 0.5, 1, violations=violations))


def test_no_cost_no_picture(tmp_path: Path) -> None:
    row = {"number": 0, "state": "complete", "metrics": {"val_accuracy": 0.5}, "violations": {}}
    assert not trials.draw_front([row], 0, tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()
    assert trials.draw_front([trial(0, 0.5, 1)], 0, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
