"""The figures of a finished run for the summary: those of `found`, complete or refused."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_pipeline.core.records import DatasetManifest, GateResult, LatencyReport, ModelBundle, TrainResult
from nas_pipeline.errors import DataError
from nas_pipeline.report.found import FoundTarget, find

_NOT_NEEDED = {f"artifacts/{name}" for name in ("validate/report.json", "search/trials.json", "retrain/history.json")}
"""The summary does without them."""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """One target's file, its latency, its gates, and what became of it."""

    name: str
    bundle: ModelBundle
    latency: LatencyReport
    gates: list[GateResult]
    outcome: str
    """`candidate, version 3`, `refused: ...`, or `not registered` and why."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A run."""

    dataset: DatasetManifest
    winner: dict[str, Any]
    search: dict[str, float]
    result: TrainResult
    baselines: dict[str, TrainResult]
    targets: list[TargetFacts]
    last_run: dict[str, Any]


def gather(root: Path) -> Facts:
    """The facts of the finished run in `root`.

    Raises:
        DataError: A stage has not run yet, or a file is damaged; the message names the file.
    """
    found = find(root)
    if found.damaged:
        raise DataError(f"the run in {root} cannot be read: {found.damaged[0]}; run `make pipeline`")
    needed = [name for name in found.missing if name not in _NOT_NEEDED]
    if needed or found.dataset is None or found.winner is None or found.search is None or found.result is None:
        raise DataError(f"there is no finished run in {root}: {root / needed[0]} is missing; run `make pipeline`")
    return Facts(
        dataset=found.dataset, winner=found.winner, search=found.search, result=found.result,
        baselines=found.baselines, targets=[facts for target in found.targets if (facts := _target(target))],
        last_run=found.last_run,
    )


def _target(target: FoundTarget) -> TargetFacts | None:
    if target.bundle is None or target.latency is None:
        return None
    return TargetFacts(target.name, target.bundle, target.latency, target.gates, said(target.outcome))


def said(outcome: dict[str, Any]) -> str:
    """What became of a target, in a few words."""
    if version := outcome.get("registered"):
        return f"candidate, version {version}"
    if refusal := outcome.get("refusal"):
        return f"refused: {refusal}"
    skipped = outcome.get("skipped")
    return f"not registered: {skipped}" if skipped else "not registered"


def mean_and_spread(values: tuple[float, ...]) -> str:
    """`94.52 ± 0.08 %`: mean and sample standard deviation; no spread for a single value."""
    mean = 100 * statistics.fmean(values)
    return f"{mean:.2f} ± {100 * statistics.stdev(values):.2f} %" if len(values) > 1 else f"{mean:.2f} %"
