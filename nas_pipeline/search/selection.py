"""Selection of finalists and of the winner: pure functions of the rows of the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from nas_pipeline.core.measures import Objective
from nas_pipeline.errors import SearchRefusal
from nas_pipeline.search.ledger import TrialRow


def feasible(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Returns the rows within all bounds, best validation accuracy first, each architecture once."""
    best: dict[str, TrialRow] = {}
    for row in rows:
        if not row["feasible"]:
            continue
        earlier = best.get(row["genotype_id"])
        if earlier is None or row["metrics"]["val_accuracy"] > earlier["metrics"]["val_accuracy"]:
            best[row["genotype_id"]] = row
    return sorted(best.values(), key=lambda row: (-row["metrics"]["val_accuracy"], row["metrics"]["latency_ms"]))


def choose_winner(rows: Sequence[TrialRow]) -> tuple[TrialRow, str]:
    """Returns the most accurate feasible row of the highest rung, and the reason.

    Accuracies of different rungs are not compared, because the trainings differ in length.

    Raises:
        SearchRefusal: No row is feasible; the message names the bounds and the smallest excess over them.
    """
    if not rows:
        raise SearchRefusal("the search ended without a single trial; raise search.budget in params.yaml")
    for rung in sorted({row["rung"] for row in rows}, reverse=True):
        ranked = feasible([row for row in rows if row["rung"] == rung])
        if ranked:
            best = ranked[0]
            return best, (
                f"highest validation accuracy ({100 * best['metrics']['val_accuracy']:.2f} %) of {len(ranked)} "
                "architectures within all bounds" + (", after the finalists' longer training" if rung else "")
            )
    raise SearchRefusal(f"none of {len(rows)} candidates meets the bounds: {_nearest_miss(rows)}")


def pareto_front(rows: Sequence[TrialRow], objectives: Sequence[Objective]) -> list[TrialRow]:
    """Returns the rows that no other row dominates (Pareto front)."""

    def losses(row: TrialRow) -> list[float]:
        return [-row["metrics"][o.metric] if o.goal == "maximize" else row["metrics"][o.metric] for o in objectives]

    candidates = [(row, losses(row)) for row in rows if row["state"] == "complete"]
    return [row for row, loss in candidates if not any(_dominates(rival, loss) for _, rival in candidates)]


def _dominates(better: list[float], worse: list[float]) -> bool:
    return better != worse and all(a <= b for a, b in zip(better, worse, strict=True))


def _nearest_miss(rows: Sequence[TrialRow]) -> str:
    complete = [row for row in rows if row["state"] == "complete" and row["violations"]]
    if not complete:
        reasons = sorted({row["failure"] for row in rows if row["failure"]})
        return "no trial completed" + (f" ({'; '.join(reasons)})" if reasons else "")
    nearest = min(complete, key=lambda row: max(row["violations"].values()))
    excess = ", ".join(f"{name} by {100 * value:.1f} %" for name, value in nearest["violations"].items())
    return (f"the nearest one, {nearest['genotype_id']}, exceeds {excess}; loosen the target's bounds or enlarge "
            "the space")
