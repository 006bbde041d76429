"""Compares the search with hand-designed networks and with random search, and states its cost.

A comparison without evidence in the run is reported as unknown.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nas_pipeline.core.records import TrainResult
from nas_pipeline.report.progress import SearchTrial, best_so_far, rung
from nas_pipeline.report.run_artifacts import RunArtifacts


@dataclass(frozen=True, slots=True)
class ComparedSearch:
    """Another search of the same data, space and budget with another strategy."""

    name: str
    strategy: str
    trials: Sequence[SearchTrial]


@dataclass(frozen=True, slots=True)
class SearchComparison:
    """One comparison."""

    question: str
    verdict: str
    """yes, no, unclear, measured or unknown."""
    text: str


def compare_search(
    run: RunArtifacts, strategy: str, compared: Sequence[ComparedSearch]
) -> list[SearchComparison]:
    """Returns the comparisons with hand-designed networks and with random search, and the cost."""
    return [_hand_designed(run), _random_search(run, strategy, compared), _cost(run)]


def _hand_designed(run: RunArtifacts) -> SearchComparison:
    question = "Better than the best hand-designed network?"
    if run.result is None or not run.baselines:
        return SearchComparison(question, "unknown", "Not measured: no hand-designed network was trained in this run "
                                                     "(retrain.baselines selects them).")
    name, best = max(run.baselines.items(), key=lambda item: statistics.fmean(item[1].test_accuracy))
    own = run.result
    gain = statistics.fmean(own.test_accuracy) - statistics.fmean(best.test_accuracy)
    noise = _noise(own, best)
    verdict = "unclear" if noise is None or abs(gain) <= noise else "yes" if gain > 0 else "no"
    significance = ("the noise is unknown with one seed each" if noise is None else
                    f"{'more' if abs(gain) > noise else 'not more'} than two standard errors "
                    f"({100 * noise:.2f} points)")
    params = own.params / best.params if best.params else 0.0
    macs = own.macs / best.macs if best.macs else 0.0
    return SearchComparison(question, verdict,
                            f"{100 * gain:+.2f} points of test accuracy against {name}, {significance}; "
                            f"{params:.2f} of its parameters, {macs:.2f} of its MACs. Same recipe and training budget.")


def _noise(own: TrainResult, baseline: TrainResult) -> float | None:
    """Twice the standard error of the difference; the deviation of a network with one seed is taken from the other."""
    results = (own, baseline)
    deviations = [statistics.stdev(result.test_accuracy) for result in results if len(result.test_accuracy) > 1]
    if not deviations:
        return None
    variances = (max(deviations) ** 2 / len(result.test_accuracy) for result in results)
    return 2.0 * float(sum(variances) ** 0.5)


def _random_search(run: RunArtifacts, strategy: str, compared: Sequence[ComparedSearch]) -> SearchComparison:
    question = "Better than random search with the same budget?"
    if strategy == "random":
        return SearchComparison(question, "unknown", "This search was random search itself.")
    baselines = [search for search in compared if search.strategy == "random"]
    own = best_so_far(run.trials)
    if not own or not baselines or not (random := best_so_far(baselines[0].trials)):
        return SearchComparison(question, "unknown",
                                "Not measured: there is no run of random search with the same data, space and budget. "
                                "To create one: nas pipeline --set search.strategy.name=random "
                                "--set search.strategy.options={}")
    baseline, gain = baselines[0], own[-1][1] - random[-1][1]
    text = (f"{100 * gain:+.2f} points of validation accuracy in the search: {strategy} {100 * own[-1][1]:.2f} % "
            f"({_spend(run.trials)}), random {100 * random[-1][1]:.2f} % ({_spend(baseline.trials)}), "
            f"{baseline.name}. One search each: not a significance test.")
    return SearchComparison(question, "unclear", text)


def _spend(trials: Sequence[SearchTrial]) -> str:
    searched = rung(trials, 0)
    return f"{len(searched)} trials, {sum(trial.get('device_s', 0.0) for trial in searched):,.0f} device-seconds"


def _cost(run: RunArtifacts) -> SearchComparison:
    question = "Cost of the search"
    if run.search is None or "device_s" not in run.search:
        return SearchComparison(question, "unknown", "Unknown: the search has not finished.")
    spent = f"{run.search['device_s']:,.0f} device-seconds for {run.search.get('trials', 0):.0f} trials"
    if run.result is None or not run.result.device_s:
        return SearchComparison(question, "measured", f"{spent}.")
    ratio = run.search["device_s"] / statistics.fmean(run.result.device_s)
    return SearchComparison(question, "measured",
                            f"{spent}: as much as {ratio:.1f} full trainings of the winner, which could have been used "
                            "for more seeds or for hand-designed variants.")
