"""Reads the artefacts of a run, complete or not, for the summary and the page.

A missing artefact is None or empty, and its file is listed in `missing`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nas_pipeline.core.files import read_json
from nas_pipeline.core.records import DatasetManifest, GateResult, LatencyReport, ModelBundle, TrainResult
from nas_pipeline.errors import NasError

T = TypeVar("T")


@dataclass(slots=True)
class TargetArtifacts:
    """The file of one target, its latency, its gates and its outcome."""

    name: str
    bundle: ModelBundle | None
    latency: LatencyReport | None
    gates: list[GateResult]
    outcome: dict[str, Any]
    """registered, model, refusal, skipped, as recorded by the flow; empty where it did not reach the target."""
    predictions: Path | None
    """File with the predictions of the shipped file on the validation images."""


@dataclass(slots=True)
class RunArtifacts:
    """The artefacts of a run."""

    root: Path
    dataset: DatasetManifest | None = None
    validation: dict[str, Any] | None = None
    trials: list[dict[str, Any]] = field(default_factory=list)
    derivations: list[dict[str, Any]] = field(default_factory=list)
    """Records of gradient searches inside trials; empty for strategies that only propose."""
    winner: dict[str, Any] | None = None
    search: dict[str, float] | None = None
    result: TrainResult | None = None
    baselines: dict[str, TrainResult] = field(default_factory=dict)
    history: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    targets: list[TargetArtifacts] = field(default_factory=list)
    last_run: dict[str, Any] = field(default_factory=dict)
    command: dict[str, Any] = field(default_factory=dict)
    """Profile and overrides of the last `nas pipeline`."""
    missing: list[str] = field(default_factory=list)
    """Files that a finished run has and this one lacks, relative to the root."""
    damaged: list[str] = field(default_factory=list)
    """Files that exist and cannot be read, with the reason."""
    errors: dict[str, str] = field(default_factory=dict)
    """Stage -> message of its error."""

    @property
    def artifacts(self) -> Path:
        """Returns the folder of artefacts."""
        return self.root / "artifacts"

    def read(self, name: str, parse: Callable[[Any], T], default: T, *, needed: bool = True) -> T:
        """Returns the parsed content of a JSON file below the root.

        A file that is missing or damaged is listed in `missing` or `damaged`, and `default` is returned.
        """
        try:
            return parse(read_json(self.root / name))
        except (FileNotFoundError, NotADirectoryError):
            if needed:
                self.missing.append(name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, NasError) as error:
            self.damaged.append(f"{name}: {type(error).__name__}: {error}")
        return default


def read_run_artifacts(root: Path) -> RunArtifacts:
    """Reads all artefacts that the run in `root` has written so far; a missing file is not an error."""
    run = RunArtifacts(root)
    run.last_run = run.read(".nas/last-run.json", dict, {}, needed=False)
    run.command = run.read(".nas/command.json", dict, {}, needed=False)
    run.dataset = run.read("artifacts/ingest/dataset.json", DatasetManifest.from_json, None)
    run.validation = run.read("artifacts/validate/report.json", dict, None)
    run.trials = run.read("artifacts/search/trials.json", list, [])
    run.derivations = run.read("artifacts/search/derivations.json", list, [], needed=False)
    run.winner = run.read("artifacts/search/winner.json", dict, None)
    run.search = run.read("artifacts/search/metrics.json", dict, None)
    run.result = run.read("artifacts/retrain/result.json", TrainResult.from_json, None)
    run.baselines = run.read("artifacts/retrain/baselines.json", _results, {})
    run.history = run.read("artifacts/retrain/history.json", dict, {})
    outcomes = run.last_run.get("targets", {})
    run.targets = [_target(run, name, outcomes.get(name, {})) for name in _target_names(run, outcomes)]
    for path in sorted(run.artifacts.glob("**/error.json")):
        stage = "@".join(path.parent.relative_to(run.artifacts).parts)
        nothing: dict[str, str] = {}
        error = run.read(str(path.relative_to(root)), dict, nothing)
        run.errors[stage] = f"{error.get('type', 'error')}: {error.get('message', 'no message')}"
    return run


def _results(value: dict[str, Any]) -> dict[str, TrainResult]:
    return {name: TrainResult.from_json(item) for name, item in value.items()}


def _target_names(run: RunArtifacts, outcomes: dict[str, Any]) -> list[str]:
    names = {path.parent.name for kind in ("bundle.json", "gates.json") for path in run.artifacts.glob(f"*/*/{kind}")}
    if not (run.artifacts / "verify").is_dir():
        run.missing.append("artifacts/verify")
    return sorted(names | set(outcomes))


def _target(run: RunArtifacts, name: str, outcome: dict[str, Any]) -> TargetArtifacts:
    predictions = run.artifacts / "export" / name / "val_predictions.npz"
    return TargetArtifacts(
        name=name,
        bundle=run.read(f"artifacts/export/{name}/bundle.json", ModelBundle.from_json, None),
        latency=run.read(f"artifacts/verify/{name}/latency.json", LatencyReport.from_json, None),
        gates=run.read(f"artifacts/verify/{name}/gates.json", _gates, []),
        outcome=outcome,
        predictions=predictions if predictions.is_file() else None,
    )


def _gates(value: list[dict[str, Any]]) -> list[GateResult]:
    return [GateResult.from_json(item) for item in value]
