"""Selects from a list of trials the best ones and the Pareto front, and draws the front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LoggedTrial = Mapping[str, Any]
"""One row of search/trials.json."""

_QUALITY = "val_accuracy"
_COSTS = ("latency_ms", "macs", "params")
"""The cost axis is the first of these metrics that the trials have."""


def numbers(trial: LoggedTrial) -> Iterator[tuple[str, float]]:
    """Yields the finite metrics of a trial."""
    for name, value in trial["metrics"].items():
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


def is_complete(trial: LoggedTrial) -> bool:
    """Whether the trial is complete and has a quality."""
    return str(trial["state"]).lower() == "complete" and _QUALITY in dict(numbers(trial))


def is_feasible(trial: LoggedTrial) -> bool:
    """Whether no bound is violated. Violations are relative excesses by name; at most 0 is within the bound."""
    violations = trial.get("violations") or {}
    values: Iterable[Any] = violations.values() if isinstance(violations, Mapping) else violations
    return all(isinstance(value, int | float) and value <= 0 for value in values)


def best(trials: Sequence[LoggedTrial], count: int) -> list[LoggedTrial]:
    """Returns the `count` best complete trials: feasible before infeasible, then by quality, then by number."""
    complete = [trial for trial in trials if is_complete(trial)]
    return sorted(
        complete, key=lambda trial: (not is_feasible(trial), -trial["metrics"][_QUALITY], trial["number"])
    )[:count]


def cost_name(trials: Sequence[LoggedTrial]) -> str | None:
    """Returns the metric of the cost axis, or None where no trial has one."""
    known = {name for trial in trials for name, _ in numbers(trial)}
    return next((name for name in _COSTS if name in known), None)


def front(trials: Sequence[LoggedTrial], cost: str) -> list[LoggedTrial]:
    """Returns the Pareto-optimal trials in quality and `cost`, by increasing cost."""
    rated = [trial for trial in trials if is_complete(trial) and cost in dict(numbers(trial))]
    rated.sort(key=lambda trial: (trial["metrics"][cost], -trial["metrics"][_QUALITY]))
    optimal: list[LoggedTrial] = []
    for trial in rated:
        if not optimal or trial["metrics"][_QUALITY] > optimal[-1]["metrics"][_QUALITY]:
            optimal.append(trial)
    return optimal


def draw_front(trials: Sequence[LoggedTrial], winner: int | None, path: Path) -> bool:
    """Draws quality over cost as a PNG file; returns False, and writes no file, where no trial has a cost."""
    cost = cost_name(trials)
    if cost is None:
        return False
    from matplotlib.figure import Figure  # takes half a second, which an unchanged pipeline does not need

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    points = [trial for trial in trials if is_complete(trial) and cost in dict(numbers(trial))]
    for label, colour, chosen in (
        ("over a bound", "0.75", [trial for trial in points if not is_feasible(trial)]),
        ("feasible", "tab:blue", [trial for trial in points if is_feasible(trial)]),
        ("winner", "tab:red", [trial for trial in points if trial["number"] == winner]),
    ):
        if chosen:
            axes.scatter(*_columns(chosen, cost), color=colour, label=label, s=60 if label == "winner" else 18)
    axes.step(*_columns(front(trials, cost), cost), where="post", color="tab:blue", linewidth=0.8, label="front")
    axes.set_xlabel(cost)
    axes.set_ylabel(_QUALITY)
    axes.legend()
    figure.savefig(path, dpi=110)
    return True


def _columns(trials: Sequence[LoggedTrial], cost: str) -> tuple[list[float], list[float]]:
    return [trial["metrics"][cost] for trial in trials], [trial["metrics"][_QUALITY] for trial in trials]
