"""Front, hypervolume, importances, and the ticks of an axis."""

from __future__ import annotations

from typing import Any

import pytest

from nas_pipeline.report.plot import Plot, ticks
from nas_pipeline.report.progress import best_so_far, front, hypervolume, importances, points


def trial(number: int, accuracy: float, latency: float, state: str = "complete", **genes: Any) -> dict[str, Any]:
    return {"number": number, "rung": 0, "state": state, "feasible": state == "complete", "device_s": 10.0,
            "genotype_id": str(number), "genotype": {"genes": list(genes.items())},
            "metrics": {"val_accuracy": accuracy, "latency_ms": latency}}


def test_the_front_holds_what_nothing_beats() -> None:
    trials = [trial(0, 0.8, 1.0), trial(1, 0.9, 2.0), trial(2, 0.85, 3.0), trial(3, 0.99, 0.1, "pruned"),
              trial(4, 0.8, 1.5)]
    assert [point.trial["number"] for point in front(points(trials))] == [0, 1]


def test_trials_without_figures_have_no_point() -> None:
    assert points([{**trial(0, 0.8, 1.0), "metrics": {}}, trial(1, float("nan"), 1.0)]) == []


def test_hypervolume_grows_to_the_share_of_the_box() -> None:
    trials = [trial(0, 0.5, 3.0), trial(1, 0.9, 3.0), trial(2, 0.7, 1.0)]
    assert hypervolume(trials) == [(10.0, 0.0), (20.0, 0.0), (30.0, pytest.approx(0.5))]
    assert hypervolume([*trials, trial(3, 0.9, 1.0)])[-1] == (40.0, pytest.approx(1.0))
    assert hypervolume(trials[:1]) == []
    assert hypervolume([trial(0, 0.5, 1.0), trial(1, 0.5, 1.0)]) == []


def test_only_feasible_trials_count_as_best() -> None:
    trials = [trial(0, 0.9, 1.0, "pruned"), trial(1, 0.5, 1.0), trial(2, 0.4, 1.0), trial(3, 0.8, 1.0)]
    assert best_so_far(trials) == [(20.0, 0.5), (30.0, 0.5), (40.0, 0.8)]


def test_the_decisive_decision_is_ranked_first_and_few_trials_are_rejected() -> None:
    trials = [trial(n, 0.5 + 0.1 * (n % 2) + 0.0001 * n, 1.0, width=n % 2, idle=n // 2 % 2, fixed=1) for n in range(24)]
    shares, remark = importances(trials)
    assert shares[0][0] == "width"
    assert shares[0][1] > 0.8
    assert {name for name, _ in shares} == {"width", "idle"}
    assert remark == "random forest (decrease of impurity) over 24 complete trials, 2 decisions that all have"
    assert importances(trials) == (shares, remark)
    assert importances(trials[:5]) == ([], "not computed: 5 complete trials, at least 10 are needed")
    assert "too small for a reliable result" in importances(trials[:12])[1]


@pytest.mark.parametrize("bounds", [(0, 1), (0.31, 0.58), (-5, 12_000), (0.9, 0.90001)])
def test_ticks_are_inside_and_few(bounds: tuple[float, float]) -> None:
    values = ticks(*bounds)
    assert 2 <= len(values) <= 7
    assert bounds[0] <= values[0]
    assert values[-1] <= bounds[1]


def test_a_plot_of_one_value_or_none_has_a_frame() -> None:
    for values in ([], [0.0], [3.0]):
        plot = Plot("x < y", values, values, x_label="x", y_label="y")
        plot.line([(value, value) for value in values], "c1")
        assert "x &lt; y" in plot.svg()


def test_importances_of_a_decision_with_many_values_are_fast() -> None:
    """fANOVA takes minutes for thirty values."""
    shares, _ = importances([trial(n, 0.5 + 0.01 * n, 1.0, depth=n) for n in range(30)])
    assert shares == [("depth", 1.0)]
