from __future__ import annotations

import math

import pytest

from nas_pipeline.core.measures import Budget, Constraint, Spend


@pytest.mark.parametrize(("budget", "spend", "bound"), [
    (Budget(), Spend(10**9, 1e9, 1e9), None),
    (Budget(trials=5), Spend(trials=4), None),
    (Budget(trials=5), Spend(trials=5), "trials"),
    (Budget(trials=5, wall_s=1.0), Spend(trials=4, wall_s=1.5), "wall_s"),
    (Budget(device_s=2.0), Spend(device_s=2.0), "device_s"),
])
def test_the_bound_that_is_reached_is_named(budget: Budget, spend: Spend, bound: str | None) -> None:
    assert budget.exceeded_by(spend) == bound


@pytest.mark.parametrize(("constraint", "value", "violation"), [
    (Constraint("x", at_most=2.0), 1.0, -0.5),
    (Constraint("x", at_most=2.0), 2.0, 0.0),
    (Constraint("x", at_most=2.0), 3.0, 0.5),
    (Constraint("x", at_least=0.8), 0.4, 0.5),
    (Constraint("x", at_least=1.0, at_most=2.0), 2.5, 0.25),
    (Constraint("x"), 7.0, 0.0),
    (Constraint("x", at_most=2.0), math.nan, 1.0),
])
def test_violation_is_the_relative_excess(constraint: Constraint, value: float, violation: float) -> None:
    assert constraint.violation({"x": value}) == pytest.approx(violation)


def test_a_metric_that_was_not_measured_violates() -> None:
    assert Constraint("latency_ms", at_most=1.0).violation({"size_bytes": 1.0}) == 1.0
