"""What a run left behind, complete or not: the one reader of artefacts for the summary and the page.

Nothing is computed that was not measured. What is missing stays None and is named in `missing`.
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
class FoundTarget:
    """One target's file, its latency, its gates, and what became of it."""

    name: str
    bundle: ModelBundle | None
    latency: LatencyReport | None
    gates: list[GateResult]
    outcome: dict[str, Any]
    """registered, model, refusal, skipped: as the flow noted them; empty where it did not get there."""
    predictions: Path | None
    """The shipped file's answers on the validation images."""


@dataclass(slots=True)
class Found:
    """A run, as far as it got."""

    root: Path
    dataset: DatasetManifest | None = None
    validation: dict[str, Any] | None = None
    trials: list[dict[str, Any]] = field(default_factory=list)
    derivations: list[dict[str, Any]] = field(default_factory=list)
    """What the searches inside the trials noted; empty where the strategy only proposes."""
    winner: dict[str, Any] | None = None
    search: dict[str, float] | None = None
    result: TrainResult | None = None
    baselines: dict[str, TrainResult] = field(default_factory=dict)
    history: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    targets: list[FoundTarget] = field(default_factory=list)
    last_run: dict[str, Any] = field(default_factory=dict)
    command: dict[str, Any] = field(default_factory=dict)
    """profile and overrides of the last `nas pipeline`."""
    missing: list[str] = field(default_factory=list)
    """Files that a finished run has, relative to the root."""
    damaged: list[str] = field(default_factory=list)
    """Files that are there and cannot be read, with the reason."""
    errors: dict[str, str] = field(default_factory=dict)
    """Stage -> why it failed."""

    @property
    def artifacts(self) -> Path:
        """The folder of artefacts."""
        return self.root / "artifacts"

    def read(self, name: str, make: Callable[[Any], T], otherwise: T, *, needed: bool = True) -> T:
        """The value in a file below the root, or `otherwise`; then the file is noted as missing or damaged."""
        try:
            return make(read_json(self.root / name))
        except (FileNotFoundError, NotADirectoryError):
            if needed:
                self.missing.append(name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, NasError) as error:
            self.damaged.append(f"{name}: {type(error).__name__}: {error}")
        return otherwise


def find(root: Path) -> Found:
    """Read everything that the run in `root` has left so far; never fails for what is not there."""
    found = Found(root)
    found.last_run = found.read(".nas/last-run.json", dict, {}, needed=False)
    found.command = found.read(".nas/command.json", dict, {}, needed=False)
    found.dataset = found.read("artifacts/ingest/dataset.json", DatasetManifest.from_json, None)
    found.validation = found.read("artifacts/validate/report.json", dict, None)
    found.trials = found.read("artifacts/search/trials.json", list, [])
    found.derivations = found.read("artifacts/search/derivations.json", list, [], needed=False)
    found.winner = found.read("artifacts/search/winner.json", dict, None)
    found.search = found.read("artifacts/search/metrics.json", dict, None)
    found.result = found.read("artifacts/retrain/result.json", TrainResult.from_json, None)
    found.baselines = found.read("artifacts/retrain/baselines.json", _results, {})
    found.history = found.read("artifacts/retrain/history.json", dict, {})
    outcomes = found.last_run.get("targets", {})
    found.targets = [_target(found, name, outcomes.get(name, {})) for name in _target_names(found, outcomes)]
    for path in sorted(found.artifacts.glob("**/error.json")):
        stage = "@".join(path.parent.relative_to(found.artifacts).parts)
        nothing: dict[str, str] = {}
        error = found.read(str(path.relative_to(root)), dict, nothing)
        found.errors[stage] = f"{error.get('type', 'error')}: {error.get('message', 'no message')}"
    return found


def _results(value: dict[str, Any]) -> dict[str, TrainResult]:
    return {name: TrainResult.from_json(item) for name, item in value.items()}


def _target_names(found: Found, outcomes: dict[str, Any]) -> list[str]:
    names = {path.parent.name for kind in ("bundle.json", "gates.json") for path in found.artifacts.glob(f"*/*/{kind}")}
    if not (found.artifacts / "verify").is_dir():
        found.missing.append("artifacts/verify")
    return sorted(names | set(outcomes))


def _target(found: Found, name: str, outcome: dict[str, Any]) -> FoundTarget:
    predictions = found.artifacts / "export" / name / "val_predictions.npz"
    return FoundTarget(
        name=name,
        bundle=found.read(f"artifacts/export/{name}/bundle.json", ModelBundle.from_json, None),
        latency=found.read(f"artifacts/verify/{name}/latency.json", LatencyReport.from_json, None),
        gates=found.read(f"artifacts/verify/{name}/gates.json", _gates, []),
        outcome=outcome,
        predictions=predictions if predictions.is_file() else None,
    )


def _gates(value: list[dict[str, Any]]) -> list[GateResult]:
    return [GateResult.from_json(item) for item in value]
