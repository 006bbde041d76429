"""Progress of a search: Pareto front, hypervolume over cost, best accuracy over cost, importances of decisions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SearchTrial = dict[str, Any]
"""One row of search/trials.json."""

MIN_FOR_IMPORTANCE = 10
"""Smallest number of complete trials for which importances are shown."""


@dataclass(frozen=True, slots=True)
class TrialPoint:
    """One trial that has an accuracy and a latency."""

    trial: SearchTrial
    accuracy: float
    latency_ms: float

    @property
    def complete(self) -> bool:
        """Whether the trial was not stopped early."""
        return bool(self.trial["state"] == "complete")


def points(trials: Sequence[SearchTrial]) -> list[TrialPoint]:
    """Returns the trials with finite accuracy and latency, in their order."""
    rated = []
    for trial in trials:
        accuracy, latency = (trial.get("metrics", {}).get(name) for name in ("val_accuracy", "latency_ms"))
        if all(isinstance(value, int | float) and math.isfinite(value) for value in (accuracy, latency)):
            rated.append(TrialPoint(trial, float(accuracy), float(latency)))
    return rated


def rung(trials: Sequence[SearchTrial], number: int) -> list[SearchTrial]:
    """Returns the trials of one rung: 0 is the search, 1 the longer training of the finalists."""
    return [trial for trial in trials if trial.get("rung", 0) == number]


def front(rated: Sequence[TrialPoint]) -> list[TrialPoint]:
    """Returns the complete points that are Pareto-optimal in accuracy and latency, from fast to slow."""
    optimal: list[TrialPoint] = []
    for point in sorted((p for p in rated if p.complete), key=lambda p: (p.latency_ms, -p.accuracy)):
        if not optimal or point.accuracy > optimal[-1].accuracy:
            optimal.append(point)
    return optimal


def hypervolume(trials: Sequence[SearchTrial]) -> list[tuple[float, float]]:
    """Returns (device-seconds so far, hypervolume so far) after each trial of the search, by trial number.

    The objectives are accuracy and latency. The reference point is the worst accuracy and the worst latency of all
    complete trials; 1.0 is the box from there to the best of both. Values of different runs are not comparable.
    """
    ordered = sorted(rung(trials, 0), key=lambda trial: trial["number"])
    done = [point for point in points(ordered) if point.complete]
    if len(done) < 2:
        return []
    worst = min(p.accuracy for p in done), max(p.latency_ms for p in done)
    best = max(p.accuracy for p in done), min(p.latency_ms for p in done)
    box = (best[0] - worst[0]) * (worst[1] - best[1])
    if box <= 0:
        return []
    spent, seen, steps = 0.0, [], []
    for trial in ordered:
        spent += float(trial.get("device_s", 0.0))
        seen += [point for point in points([trial]) if point.complete]
        steps.append((spent, _area(front(seen), worst) / box))
    return steps


def _area(steps: Sequence[TrialPoint], worst: tuple[float, float]) -> float:
    edges = [point.latency_ms for point in steps] + [worst[1]]
    widths = (right - left for left, right in itertools.pairwise(edges))
    return sum(width * (point.accuracy - worst[0]) for width, point in zip(widths, steps, strict=True))


def best_so_far(trials: Sequence[SearchTrial]) -> list[tuple[float, float]]:
    """Returns (device-seconds so far, best feasible accuracy so far) after each trial, from the first feasible one."""
    spent, best, steps = 0.0, -math.inf, []
    for trial in sorted(rung(trials, 0), key=lambda trial: trial["number"]):
        spent += float(trial.get("device_s", 0.0))
        if trial.get("feasible") and points([trial]):
            best = max(best, trial["metrics"]["val_accuracy"])
        if best > -math.inf:
            steps.append((spent, best))
    return steps


def importances(trials: Sequence[SearchTrial]) -> tuple[list[tuple[str, float]], str]:
    """Returns (decision, share of the variance of the accuracy), largest first, and a remark on the sample size.

    Only decisions that every complete trial has can be compared; all others are omitted.
    """
    complete = [p for p in points(rung(trials, 0)) if p.complete and p.trial.get("genotype")]
    if len(complete) < MIN_FOR_IMPORTANCE:
        return [], f"not computed: {len(complete)} complete trials, at least {MIN_FOR_IMPORTANCE} are needed"
    rows = [{name: _plain(choice) for name, choice in point.trial["genotype"]["genes"]} for point in complete]
    shared = [name for name in rows[0] if all(name in row for row in rows) and len({row[name] for row in rows}) > 1]
    if not shared or len({point.accuracy for point in complete}) < 2:
        return [], "not computed: no decision that all trials have takes more than one value"
    shares = _forest(rows, [point.accuracy for point in complete], shared)
    remark = (f"random forest (decrease of impurity) over {len(complete)} complete trials, "
              f"{len(shared)} decisions that all have")
    if len(complete) < 10 * len(shared):
        remark += "; the number of trials is too small for a reliable result"
    return sorted(shares.items(), key=lambda item: (-item[1], item[0])), remark


def _forest(rows: list[dict[str, str]], values: list[float], names: list[str]) -> dict[str, float]:
    """Computes importances with a random forest. fANOVA takes minutes for a decision with thirty values."""
    import optuna  # imported here: the page of a run without a search does not need it

    kinds = {name: optuna.distributions.CategoricalDistribution(sorted({row[name] for row in rows})) for name in names}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
        study.add_trials([
            optuna.trial.create_trial(
                params={name: row[name] for name in names}, distributions=dict(kinds), value=value
            )
            for row, value in zip(rows, values, strict=True)
        ])
        evaluator = optuna.importance.MeanDecreaseImpurityImportanceEvaluator(seed=0)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return {name: float(share) for name, share in shares.items()}
    finally:
        optuna.logging.set_verbosity(verbosity)


def _plain(choice: Any) -> str:
    return str(choice)
