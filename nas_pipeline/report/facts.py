"""The figures of a finished run for the summary, checked for completeness."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_pipeline.core.records import DatasetManifest, GateResult, LatencyReport, ModelBundle, TrainResult
from nas_pipeline.errors import DataError
from nas_pipeline.report.run_artifacts import TargetArtifacts, read_run_artifacts

_NOT_NEEDED = {f"artifacts/{name}" for name in ("validate/report.json", "search/trials.json", "retrain/history.json")}
"""Artefacts that the summary does not need."""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """The file of one target, its latency, its gates and its outcome."""

    name: str
    bundle: ModelBundle
    latency: LatencyReport
    gates: list[GateResult]
    outcome: str
    """`candidate, version 3`, `refused: ...`, or `not registered` and why."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The figures of a finished run."""

    dataset: DatasetManifest
    winner: dict[str, Any]
    search: dict[str, float]
    result: TrainResult
    baselines: dict[str, TrainResult]
    targets: list[TargetFacts]
    last_run: dict[str, Any]


def gather(root: Path) -> RunFacts:
    """Returns the figures of the finished run in `root`.

    Raises:
        DataError: The output of a stage is missing or damaged; the message names the file.
    """
    run = read_run_artifacts(root)
    if run.damaged:
        raise DataError(f"the run in {root} cannot be read: {run.damaged[0]}; run `make pipeline`")
    needed = [name for name in run.missing if name not in _NOT_NEEDED]
    if needed or run.dataset is None or run.winner is None or run.search is None or run.result is None:
        raise DataError(f"there is no finished run in {root}: {root / needed[0]} is missing; run `make pipeline`")
    return RunFacts(
        dataset=run.dataset, winner=run.winner, search=run.search, result=run.result,
        baselines=run.baselines, targets=[facts for target in run.targets if (facts := _target(target))],
        last_run=run.last_run,
    )


def _target(target: TargetArtifacts) -> TargetFacts | None:
    if target.bundle is None or target.latency is None:
        return None
    return TargetFacts(target.name, target.bundle, target.latency, target.gates, outcome_text(target.outcome))


def outcome_text(outcome: dict[str, Any]) -> str:
    """Returns the outcome of a target as text."""
    if version := outcome.get("registered"):
        return f"candidate, version {version}"
    if refusal := outcome.get("refusal"):
        return f"refused: {refusal}"
    skipped = outcome.get("skipped")
    return f"not registered: {skipped}" if skipped else "not registered"


def mean_and_spread(values: tuple[float, ...]) -> str:
    """Returns mean and sample standard deviation, such as `94.52 ± 0.08 %`; the mean alone for a single value."""
    mean = 100 * statistics.fmean(values)
    return f"{mean:.2f} ± {100 * statistics.stdev(values):.2f} %" if len(values) > 1 else f"{mean:.2f} %"
