"""Which candidates go on, and which one wins. Pure functions of ledger rows."""

from __future__ import annotations

from collections.abc import Sequence

from nas_pipeline.core.measures import Objective
from nas_pipeline.errors import SearchRefusal
from nas_pipeline.search.ledger import Row


def feasible(rows: Sequence[Row]) -> list[Row]:
    """Rows within all bounds, best validation accuracy first, each architecture once."""
    best: dict[str, Row] = {}
    for row in rows:
        if not row["feasible"]:
            continue
        known = best.get(row["genotype_id"])
        if known is None or row["metrics"]["val_accuracy"] > known["metrics"]["val_accuracy"]:
            best[row["genotype_id"]] = row
    return sorted(best.values(), key=lambda row: (-row["metrics"]["val_accuracy"], row["metrics"]["latency_ms"]))


def choose_winner(rows: Sequence[Row]) -> tuple[Row, str]:
    """The most accurate feasible row of the highest rung, and why.

    Accuracies of different rungs are not compared: a longer training is another measurement.

    Raises:
        SearchRefusal: No row is feasible; the message says which bound was missed by how little.
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


def pareto_front(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[Row]:
    """Rows that no other row beats in one objective without losing in another."""

    def losses(row: Row) -> list[float]:
        return [-row["metrics"][o.metric] if o.goal == "maximize" else row["metrics"][o.metric] for o in objectives]

    candidates = [(row, losses(row)) for row in rows if row["state"] == "complete"]
    return [row for row, mine in candidates if not any(_dominates(theirs, mine) for _, theirs in candidates)]


def _dominates(one: list[float], other: list[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _nearest_miss(rows: Sequence[Row]) -> str:
    complete = [row for row in rows if row["state"] == "complete" and row["violations"]]
    if not complete:
        reasons = sorted({row["failure"] for row in rows if row["failure"]})
        return "no trial completed" + (f" ({'; '.join(reasons)})" if reasons else "")
    nearest = min(complete, key=lambda row: max(row["violations"].values()))
    excess = ", ".join(f"{name} by {100 * value:.1f} %" for name, value in nearest["violations"].items())
    return (f"the nearest one, {nearest['genotype_id']}, exceeds {excess}; loosen the target's bounds or enlarge "
            "the space")
