"""Reading a list of trials: which are good, which lie on the front, and a picture of it. Pure but for the picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Trial = Mapping[str, Any]

_QUALITY = "val_accuracy"
_COSTS = ("latency_ms", "macs", "params")
"""The first of these that the trials have is the second axis."""


def numbers(trial: Trial) -> Iterator[tuple[str, float]]:
    """The finite metrics of a trial."""
    for name, value in trial["metrics"].items():
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


def is_complete(trial: Trial) -> bool:
    """The trial ended well and has a quality."""
    return str(trial["state"]).lower() == "complete" and _QUALITY in dict(numbers(trial))


def is_feasible(trial: Trial) -> bool:
    """No bound is violated. Violations are relative excesses by name: at most 0 is within the bound."""
    violations = trial.get("violations") or {}
    values: Iterable[Any] = violations.values() if isinstance(violations, Mapping) else violations
    return all(isinstance(value, int | float) and value <= 0 for value in values)


def best(trials: Sequence[Trial], count: int) -> list[Trial]:
    """The `count` best complete trials: feasible before infeasible, then by quality, then the earlier one."""
    complete = [trial for trial in trials if is_complete(trial)]
    return sorted(
        complete, key=lambda trial: (not is_feasible(trial), -trial["metrics"][_QUALITY], trial["number"])
    )[:count]


def cost_name(trials: Sequence[Trial]) -> str | None:
    """The metric of the cost axis, or None where no trial has one."""
    known = {name for trial in trials for name, _ in numbers(trial)}
    return next((name for name in _COSTS if name in known), None)


def front(trials: Sequence[Trial], cost: str) -> list[Trial]:
    """The trials that no other beats in both quality and `cost`, from cheap to dear."""
    rated = [trial for trial in trials if is_complete(trial) and cost in dict(numbers(trial))]
    rated.sort(key=lambda trial: (trial["metrics"][cost], -trial["metrics"][_QUALITY]))
    kept: list[Trial] = []
    for trial in rated:
        if not kept or trial["metrics"][_QUALITY] > kept[-1]["metrics"][_QUALITY]:
            kept.append(trial)
    return kept


def draw_front(trials: Sequence[Trial], winner: int | None, path: Path) -> bool:
    """Draw quality over cost as PNG at `path`; False, and no file, where no trial has a cost."""
    cost = cost_name(trials)
    if cost is None:
        return False
    from matplotlib.figure import Figure  # half a second that an unchanged pipeline does not pay

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


def _columns(trials: Sequence[Trial], cost: str) -> tuple[list[float], list[float]]:
    return [trial["metrics"][cost] for trial in trials], [trial["metrics"][_QUALITY] for trial in trials]
