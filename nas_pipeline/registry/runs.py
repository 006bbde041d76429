"""Logs the MLflow runs of a pipeline: search, trials, retrain, and the export of each target. Only writes to MLflow."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.registry import trials as trial_rows
from nas_pipeline.registry.evidence import evidence_digest
from nas_pipeline.registry.model_card import HTML, MARKDOWN
from nas_pipeline.registry.onnx_model import log_onnx_model
from nas_pipeline.registry.results import Results, TargetResult, numbers
from nas_pipeline.registry.tags import EVIDENCE_SHA256, ROLE, RUN_KEY

TOP_TRIALS = 20
"""Number of trials that get a run of their own. Runs for all trials would take a hundred times as long as the rest."""

_METRICS_PER_BATCH = 1000  # MLflow's limit
_PARAM_CHARACTERS = 6000  # MLflow's limit


@dataclass(frozen=True, slots=True)
class RunRecorder:
    """Creates the MLflow runs of one run of the pipeline in one experiment."""

    client: MlflowClient
    experiment_id: str
    run_key: str

    def start(self, name: str, role: str, *, parent: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """Creates a run and returns its id."""
        links = {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
        run = self.client.create_run(
            self.experiment_id, run_name=name, tags={RUN_KEY: self.run_key, ROLE: role, **links, **(tags or {})}
        )
        return str(run.info.run_id)

    def log(
        self,
        run_id: str,
        *,
        metrics: Iterable[tuple[str, float, int]] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Logs (name, value, step) triples, parameters and tags, in as few calls as MLflow allows."""
        now_ms = int(time.time() * 1000)
        points = [Metric(name, value, now_ms, step) for name, value, step in metrics]
        listed = [Param(key, str(value)[:_PARAM_CHARACTERS]) for key, value in (params or {}).items()]
        if listed or tags:
            self.client.log_batch(run_id, params=listed, tags=[RunTag(*item) for item in (tags or {}).items()])
        for start in range(0, len(points), _METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=points[start : start + _METRICS_PER_BATCH])

    def files(self, run_id: str, *paths: Path) -> None:
        """Logs those of the files that exist."""
        for path in paths:
            if path.is_file():
                self.client.log_artifact(run_id, str(path))

    def end(self, run_id: str) -> None:
        """Marks a run as finished."""
        self.client.set_terminated(run_id, "FINISHED")


def write_search(recorder: RunRecorder, parent: str, results: Results) -> str:
    """Logs one run for all trials: the step of each metric is the number of the trial. Returns the id of the run."""
    folder = results.folder / "search"
    run_id = recorder.start("search", "search", parent=parent)
    points = [
        (name, value, int(trial["number"])) for trial in results.trials for name, value in trial_rows.numbers(trial)
    ]
    points += [(f"search.{name}", value, 0) for name, value in numbers(folder / "metrics.json").items()]
    recorder.log(run_id, metrics=points, params={"space": results.genotype.space, "trials": len(results.trials)})
    names = ("trials", "winner", "derivations", "random_baseline")
    recorder.files(run_id, *(folder / f"{name}.json" for name in names))
    recorder.client.log_table(run_id, trials_table(results.trials), "trials_table.json")
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / "pareto.png"
        if trial_rows.draw_front(results.trials, results.winner.get("number"), picture):
            recorder.files(run_id, picture)
    for trial in trial_rows.best(results.trials, TOP_TRIALS):
        _write_trial(recorder, run_id, trial)
    recorder.end(run_id)
    return run_id


def trials_table(trials: Sequence[trial_rows.LoggedTrial]) -> dict[str, list[Any]]:
    """Returns the columns of all trials: number, state, genotype, feasible, seconds, metrics (None if missing)."""
    names = sorted({name for trial in trials for name, _ in trial_rows.numbers(trial)})
    table: dict[str, list[Any]] = {
        "number": [trial["number"] for trial in trials],
        "state": [trial["state"] for trial in trials],
        "genotype_id": [trial["genotype_id"] for trial in trials],
        "feasible": [trial_rows.is_feasible(trial) for trial in trials],
        "wall_s": [trial.get("wall_s") for trial in trials],
        "device_s": [trial.get("device_s") for trial in trials],
    }
    values = [dict(trial_rows.numbers(trial)) for trial in trials]
    return table | {name: [row.get(name) for row in values] for name in names}


def _write_trial(recorder: RunRecorder, parent: str, trial: trial_rows.LoggedTrial) -> None:
    number = int(trial["number"])
    run_id = recorder.start(f"trial {number}", "trial", parent=parent, tags={"genotype.id": trial["genotype_id"]})
    genes = {name: gene for name, gene in trial["genotype"]["genes"]}
    recorder.log(run_id, metrics=[(name, value, number) for name, value in trial_rows.numbers(trial)], params=genes)
    recorder.end(run_id)


def write_retrain(recorder: RunRecorder, parent: str, results: Results) -> str:
    """Logs the curves of every seed with the epoch as step, and the summary over seeds. Returns the id of the run."""
    folder = results.folder / "retrain"
    retrained = results.retrained
    run_id = recorder.start("retrain", "retrain", parent=parent, tags={"genotype.id": results.genotype.id})
    points = [
        (f"{series}/{name}", float(value), int(row["epoch"]))
        for series, rows in results.history.items()
        for row in rows
        for name, value in row.items()
        if name != "epoch" and isinstance(value, int | float)
    ]
    points += [(name, value, 0) for name, value in summary(results).items()]
    points += [(f"retrain.{name}", value, 0) for name, value in numbers(folder / "metrics.json").items()]
    recorder.log(run_id, metrics=points, params={"seeds": list(retrained.seeds), **retrained.recipe})
    recorder.files(
        run_id, *(folder / name for name in ("result.json", "baselines.json", "history.json", "weights.safetensors"))
    )
    recorder.end(run_id)
    return run_id


def summary(results: Results) -> dict[str, float]:
    """Returns mean and standard deviation over the seeds of the retrained winner, and its size."""
    retrained = results.retrained
    figures = {"params": float(retrained.params), "macs": float(retrained.macs)}
    for name, values in (("val_accuracy", retrained.val_accuracy), ("test_accuracy", retrained.test_accuracy)):
        if values:
            figures[f"{name}_mean"] = statistics.fmean(values)
            figures[f"{name}_sd"] = statistics.stdev(values) if len(values) > 1 else 0.0
    return figures


def write_export(
    recorder: RunRecorder, parent: str, target: str, results: Results, evidence: Mapping[str, bytes]
) -> tuple[str, str]:
    """Logs the network of one target with its figures and evidence; returns the ids of the run and of the model."""
    result = results.targets[target]
    bundle, latency = result.bundle, result.latency
    tags = {
        "target": target,
        "bundle.digest": bundle.digest,
        "genotype.id": bundle.genotype.id,
        "latency.evidence": latency.evidence,
        **gate_tags(result),
    }
    run_id = recorder.start(f"export {target}", f"export/{target}", parent=parent, tags=tags)
    figures = {
        **bundle.metrics,
        "parity.top1_agreement": bundle.parity.top1_agreement,
        "parity.max_abs_error": bundle.parity.max_abs_error,
        **{f"latency.{name}": getattr(latency, name) for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "spread")},
        **{f"verify.{name}": value for name, value in numbers(result.verify_folder / "metrics.json").items()},
    }
    recorder.log(
        run_id,
        metrics=[(name, float(value), 0) for name, value in figures.items()],
        params={"target": target, "precision": bundle.precision, "threads": latency.threads, "runs": latency.runs},
    )
    model_tags = {
        "target": target, "bundle.digest": bundle.digest, "sha256": bundle.files[MODEL_FILE],
        EVIDENCE_SHA256: evidence_digest(evidence),
    }
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in evidence.items():
            (Path(scratch) / name).write_bytes(content)
        logged = ("bundle.json", "latency.json", "gates.json", MARKDOWN, HTML, "drawing.svg")
        recorder.files(run_id, *(Path(scratch) / name for name in logged))
        model_id = log_onnx_model(
            recorder.client, experiment_id=recorder.experiment_id, run_id=run_id, result=result,
            evidence=Path(scratch), tags=model_tags,
        )
    recorder.end(run_id)
    return run_id, model_id


def gate_tags(result: TargetResult) -> dict[str, str]:
    """Returns one tag per gate: `gate.NAME` = pass or fail with the figure and the bound."""
    return {
        f"gate.{gate.gate}":
            f"{'pass' if gate.passed else 'fail'}: {_tag_value(gate.figure)} (bound {_tag_value(gate.bound)})"
        for gate in result.gates
    }


def _tag_value(figure: float | str) -> str:
    return f"{figure:.6g}" if isinstance(figure, float) else str(figure)
