from __future__ import annotations

from typing import Any

import pytest

from nas_pipeline.core.measures import Objective
from nas_pipeline.errors import SearchRefusal
from nas_pipeline.search.ledger import describe
from nas_pipeline.search.objectives import ParetoObjective, WeightedObjective
from nas_pipeline.search.selection import choose_winner, feasible, pareto_front

FRONT = (Objective("val_accuracy", "maximize"), Objective("latency_ms", "minimize"))


def row(number: int, accuracy: float, latency: float = 1.0, **changed: Any) -> dict[str, Any]:
    violations = changed.pop("violations", {})
    return {
        "number": number, "rung": 0, "state": "complete", "genotype_id": f"g{number}", "genotype": {},
        "metrics": {"val_accuracy": accuracy, "latency_ms": latency, "params": 1e5}, "violations": violations,
        "feasible": not violations, "device_s": 1.0, "wall_s": 1.0, "same_as": None, "failure": "", "curve": [],
        **changed,
    }


def test_the_most_accurate_feasible_row_wins() -> None:
    rows = [row(0, 0.90), row(1, 0.95, violations={"latency_ms": 0.2}), row(2, 0.93)]
    winner, why = choose_winner(rows)
    assert winner["number"] == 2
    assert "93.00 %" in why
    assert "2 architectures" in why


def test_a_longer_training_decides_over_a_shorter_one() -> None:
    rows = [row(0, 0.90), row(1, 0.89), row(0, 0.91, rung=1, genotype_id="g0"), row(1, 0.92, rung=1, genotype_id="g1")]
    assert choose_winner(rows)[0]["genotype_id"] == "g1"
    assert choose_winner([*rows[:2], row(0, 0.85, rung=1)])[0]["rung"] == 1


def test_between_equals_the_faster_one_wins() -> None:
    assert choose_winner([row(0, 0.9, 2.0), row(1, 0.9, 1.0)])[0]["number"] == 1


def test_an_architecture_counts_once() -> None:
    assert [r["number"] for r in feasible([row(0, 0.8), row(1, 0.9, genotype_id="g0"), row(2, 0.7)])] == [1, 2]


def test_the_refusal_says_what_was_missed_and_by_how_little() -> None:
    rows = [row(0, 0.9, violations={"latency_ms": 0.5, "size_bytes": 0.1}), row(1, 0.9, violations={"latency_ms": 0.2})]
    with pytest.raises(SearchRefusal, match=r"none of 2 candidates.*g1, exceeds latency_ms by 20\.0 %"):
        choose_winner(rows)


def test_no_trials_and_no_complete_trials_are_told_apart() -> None:
    with pytest.raises(SearchRefusal, match="without a single trial"):
        choose_winner([])
    with pytest.raises(SearchRefusal, match=r"no trial completed \(out of memory\)"):
        choose_winner([row(0, 0.0, state="fail", failure="out of memory", feasible=False)])


def test_pareto_front() -> None:
    rows = [row(0, 0.90, 1.0), row(1, 0.95, 2.0), row(2, 0.85, 1.5), row(3, 0.95, 2.0), row(4, 0.99, 0.1, state="fail")]
    assert [r["number"] for r in pareto_front(rows, FRONT)] == [0, 1, 3]


def test_weighted_cost_is_hinged_at_the_bounds() -> None:
    objective = WeightedObjective(accuracy=1.0, latency=0.5, params=0.1, latency_bound_ms=2.0, params_bound=100.0)
    within = {"val_accuracy": 0.9, "latency_ms": 1.0, "params": 50.0}
    assert objective.values(within) == pytest.approx([0.1])
    assert objective.values({**within, "latency_ms": 0.1}) == pytest.approx([0.1])
    assert objective.values({**within, "latency_ms": 3.0, "params": 200.0}) == pytest.approx([0.1 + 0.25 + 0.1])


def test_pareto_values_are_in_the_order_of_the_directions() -> None:
    objective = ParetoObjective(FRONT)
    assert objective.directions == ["maximize", "minimize"]
    assert objective.values({"latency_ms": 2.0, "val_accuracy": 0.5}) == [0.5, 2.0]


def test_a_trial_is_one_readable_line() -> None:
    line = describe(row(12, 0.913, 0.412, violations={"latency_ms": 0.12}))
    assert "\n" not in line
    assert "trial  12" in line
    assert "val 91.30 %" in line
    assert "over latency_ms by 12 %" in line
