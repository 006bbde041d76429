"""The figures of a finished run, gathered from its artefacts. Nothing is computed that was not measured."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_pipeline.core.files import read_json
from nas_pipeline.core.records import DatasetManifest, GateResult, LatencyReport, ModelBundle, TrainResult
from nas_pipeline.errors import DataError


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
    """Read the artefacts of the run in `root`.

    Raises:
        DataError: A stage has not run yet; the message names the file.
    """
    try:
        return _gather(root)
    except FileNotFoundError as error:
        raise DataError(
            f"there is no finished run in {root}: {error.filename} is missing; run `make pipeline`"
        ) from error


def _gather(root: Path) -> Facts:
    artifacts = root / "artifacts"
    last = root / ".nas" / "last-run.json"
    last_run: dict[str, Any] = read_json(last) if last.exists() else {}
    outcomes = last_run.get("targets", {})
    return Facts(
        dataset=DatasetManifest.from_json(read_json(artifacts / "ingest" / "dataset.json")),
        winner=read_json(artifacts / "search" / "winner.json"),
        search=read_json(artifacts / "search" / "metrics.json"),
        result=TrainResult.from_json(read_json(artifacts / "retrain" / "result.json")),
        baselines={name: TrainResult.from_json(item)
                   for name, item in read_json(artifacts / "retrain" / "baselines.json").items()},
        targets=[_target(artifacts, path.name, outcomes.get(path.name, {}))
                 for path in sorted((artifacts / "verify").iterdir()) if (path / "gates.json").exists()],
        last_run=last_run,
    )


def _target(artifacts: Path, name: str, outcome: dict[str, Any]) -> TargetFacts:
    verify = artifacts / "verify" / name
    return TargetFacts(
        name=name,
        bundle=ModelBundle.from_json(read_json(artifacts / "export" / name / "bundle.json")),
        latency=LatencyReport.from_json(read_json(verify / "latency.json")),
        gates=[GateResult.from_json(item) for item in read_json(verify / "gates.json")],
        outcome=_said(outcome),
    )


def _said(outcome: dict[str, Any]) -> str:
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
