"""Was the search worth it? Each comparison is made where the run has its evidence, and said to be missing elsewhere."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nas_pipeline.core.records import TrainResult
from nas_pipeline.report.found import Found
from nas_pipeline.report.progress import Trial, best_so_far, rung


@dataclass(frozen=True, slots=True)
class Rival:
    """Another search of the same data, space and budget, by another strategy."""

    name: str
    strategy: str
    trials: Sequence[Trial]


@dataclass(frozen=True, slots=True)
class Answer:
    """One comparison."""

    question: str
    verdict: str
    """yes, no, unclear, or unknown."""
    words: str


def answers(found: Found, strategy: str, rivals: Sequence[Rival]) -> list[Answer]:
    """The search against hand-designed networks, against random search, and what it cost."""
    return [_by_hand(found), _random(found, strategy, rivals), _cost(found)]


def _by_hand(found: Found) -> Answer:
    question = "Better than the best hand-designed network?"
    if found.result is None or not found.baselines:
        return Answer(question, "unknown", "Not measured: no hand-designed network was trained in this run "
                                           "(retrain.baselines names them).")
    name, best = max(found.baselines.items(), key=lambda item: statistics.fmean(item[1].test_accuracy))
    own, other = found.result, statistics.fmean(best.test_accuracy)
    gain = statistics.fmean(own.test_accuracy) - other
    noise = _noise(own, best)
    verdict = "unclear" if noise is None or abs(gain) <= noise else "yes" if gain > 0 else "no"
    judged = ("one seed each says nothing about noise" if noise is None
              else f"{'more' if abs(gain) > noise else 'no more'} than two standard errors ({100 * noise:.2f} points)")
    size = own.params / best.params if best.params else 0.0
    macs = own.macs / best.macs if best.macs else 0.0
    return Answer(question, verdict,
                  f"{100 * gain:+.2f} points of test accuracy against {name}, {judged}; "
                  f"{size:.2f} of its parameters, {macs:.2f} of its MACs. Same recipe and training budget.")


def _noise(own: TrainResult, other: TrainResult) -> float | None:
    """Twice the standard error of the difference; a network with one seed borrows the other's deviation."""
    spreads = [statistics.stdev(each.test_accuracy) for each in (own, other) if len(each.test_accuracy) > 1]
    if not spreads:
        return None
    parts = (max(spreads) ** 2 / len(each.test_accuracy) for each in (own, other))
    return 2.0 * float(sum(parts) ** 0.5)


def _random(found: Found, strategy: str, rivals: Sequence[Rival]) -> Answer:
    question = "Better than random search with the same budget?"
    if strategy == "random":
        return Answer(question, "unknown", "This search was random search itself.")
    others = [rival for rival in rivals if rival.strategy == "random"]
    own = best_so_far(found.trials)
    if not own or not others or not (random := best_so_far(others[0].trials)):
        return Answer(question, "unknown",
                      "Not measured: no run of random search with the same data, space and budget was found beside "
                      "this one. It takes: nas pipeline --set search.strategy.name=random "
                      "--set search.strategy.options={}")
    gain = own[-1][1] - random[-1][1]
    words = (f"{100 * gain:+.2f} points of validation accuracy in the search: {strategy} {100 * own[-1][1]:.2f} % "
             f"({_spent(found.trials)}), random {100 * random[-1][1]:.2f} % ({_spent(others[0].trials)}), "
             f"{others[0].name}. One search each: a hint, not a test.")
    return Answer(question, "unclear", words)


def _spent(trials: Sequence[Trial]) -> str:
    searched = rung(trials, 0)
    return f"{len(searched)} trials, {sum(trial.get('device_s', 0.0) for trial in searched):,.0f} device-seconds"


def _cost(found: Found) -> Answer:
    question = "What did it cost?"
    if found.search is None or "device_s" not in found.search:
        return Answer(question, "unknown", "Not known: the search has not ended.")
    spent = f"{found.search['device_s']:,.0f} device-seconds for {found.search.get('trials', 0):.0f} trials"
    if found.result is None or not found.result.device_s:
        return Answer(question, "measured", f"{spent}.")
    ratio = found.search["device_s"] / statistics.fmean(found.result.device_s)
    return Answer(question, "measured", f"{spent}: as much as {ratio:.1f} full trainings of the winner. Without a "
                                        "search that would have bought so many more seeds or hand-made variants.")
