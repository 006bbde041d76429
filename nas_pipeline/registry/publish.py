"""Logs the artefacts of one run of the pipeline to MLflow. Idempotent: one run key has one parent run.

The tag `pipeline.complete` of the parent run is set last. An interrupted publication leaves a parent without it; the
next one deletes those runs and starts again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from nas_pipeline.core.files import canonical_json
from nas_pipeline.core.records import DatasetManifest
from nas_pipeline.errors import RegistryError
from nas_pipeline.registry.connection import artifact_location, tracking, tracking_uri
from nas_pipeline.registry.evidence import evidence
from nas_pipeline.registry.results import Results, read_dataset, read_results
from nas_pipeline.registry.runs import RunRecorder, summary, write_export, write_retrain, write_search
from nas_pipeline.registry.statement import Statement, read_statement
from nas_pipeline.registry.tags import COMPLETE, DVC_LOCK, PARAMS, PATCH, ROLE, RUN_KEY, uncommitted

logger = logging.getLogger(__name__)

_PARENT = "pipeline"
_MAX_RUNS = 1000


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """The MLflow runs of one pipeline run: parent, children by role (`search`, `retrain`, `export/TARGET`), models."""

    experiment: str
    experiment_id: str
    run_key: str
    run_id: str
    children: dict[str, str]
    models: dict[str, str]
    """Target -> id of the logged model."""
    created: bool
    """False where the runs existed already."""

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PublishedRun:
        """Creates an instance from the result of `to_json`."""
        return cls(**value)


def publish(
    root: Path,
    *,
    run_key: str,
    tags: Mapping[str, str],
    tracking_uri: str | None = None,
    targets: Sequence[str] | None = None,
) -> PublishedRun:
    """Logs the runs with the key `run_key` to the experiment `nas/DATASET`, unless they exist.

    Args:
        root: The workspace whose artefacts are read.
        run_key: Identity of the run of the pipeline; see `tags.run_key`.
        tags: Tags of the parent run; see `tags.provenance`.
        tracking_uri: Default: MLFLOW_TRACKING_URI, else an SQLite file in `root`.
        targets: Default: every target that was verified.

    Raises:
        TrackingUnavailable: MLflow does not respond.
        RegistryError: An artefact is missing or damaged, or MLflow rejects a request.
    """
    dataset = read_dataset(root)
    with tracking(root, tracking_uri) as client:
        experiment_id = _experiment(client, root, f"nas/{dataset.name}", tracking_uri)
        runs = _runs(client, experiment_id, run_key)
        parent = next((run for run in runs if run.data.tags.get(ROLE) == _PARENT), None)
        if parent is not None and COMPLETE in parent.data.tags:
            return _existing(f"nas/{dataset.name}", experiment_id, run_key, parent, runs)
        _delete(client, runs)
        results = read_results(root, targets)
        return _log_all(RunRecorder(client, experiment_id, run_key), results, tags, read_statement(root))


def attach_file(root: Path, run_id: str, file: Path, folder: str) -> None:
    """Logs `file` under `folder` of an existing run; a file of the same name is replaced.

    Raises:
        TrackingUnavailable: MLflow does not respond.
        RegistryError: There is no such run.
    """
    with tracking(root) as client:
        client.log_artifact(run_id, str(file), folder)


def _log_all(recorder: RunRecorder, results: Results, tags: Mapping[str, str], statement: Statement) -> PublishedRun:
    parent = recorder.start(
        f"pipeline {recorder.run_key}", _PARENT, tags={"genotype.id": results.genotype.id, **tags}
    )
    children: dict[str, str] = {}
    models: dict[str, str] = {}
    try:
        _write_parent(recorder, parent, results)
        children["search"] = write_search(recorder, parent, results)
        children["retrain"] = write_retrain(recorder, parent, results)
        for target in results.targets:
            files = evidence(results, target, statement, {RUN_KEY: recorder.run_key, **tags})
            children[f"export/{target}"], models[target] = write_export(recorder, parent, target, results, files)
        recorder.log(parent, tags={COMPLETE: canonical_json({"children": children, "models": models})})
    except Exception:
        logger.warning("publishing %s was interrupted; the next publication starts again", recorder.run_key)
        raise
    recorder.end(parent)
    logger.info("published %s: %d runs of %d trials", recorder.run_key, 1 + len(children), len(results.trials))
    experiment = f"nas/{results.dataset.name}"
    return PublishedRun(experiment, recorder.experiment_id, recorder.run_key, parent, children, models, created=True)


def _write_parent(recorder: RunRecorder, run_id: str, results: Results) -> None:
    client = recorder.client
    client.log_dict(run_id, results.genotype.to_json(), "genotype.json")
    client.log_inputs(run_id, [dataset_input(results.dataset)])
    recorder.files(
        run_id,
        results.folder / "retrain" / "drawing.svg",
        results.folder / "retrain" / "drawing.png",
        results.folder / "ingest" / "dataset.json",
        results.folder / "validate" / "report.json",
        *(results.folder.parent / name for name in (PARAMS, DVC_LOCK)),
    )
    if patch := uncommitted(results.folder.parent):
        client.log_text(run_id, patch, PATCH)
    recorder.log(
        run_id,
        metrics=[(name, value, 0) for name, value in summary(results).items()],
        params={"dataset": results.dataset.name, "space": results.genotype.space, "why": results.winner.get("why", "")},
    )


def dataset_input(manifest: DatasetManifest) -> DatasetInput:
    """Returns the data set as an input of a run: name, digest (cut to 36 characters for MLflow), source and counts."""
    source = manifest.notes.get("source", manifest.name)
    profile = {"counts": manifest.counts, "digest": manifest.digest}
    dataset = Dataset(
        name=manifest.name,
        digest=manifest.digest[:36],
        source_type="nas_pipeline",
        source=canonical_json({"source": source}),
        schema=canonical_json({"spec": manifest.to_json()["spec"], "class_names": list(manifest.class_names)}),
        profile=canonical_json(profile),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])


def _experiment(client: MlflowClient, root: Path, name: str, uri: str | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location(tracking_uri(root, uri), name)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # another process created it
    if experiment is None or experiment.lifecycle_stage != "active":
        raise RegistryError(f"the MLflow experiment {name!r} was deleted: restore it, or purge it with `mlflow gc`")
    return str(experiment.experiment_id)


def _runs(client: MlflowClient, experiment_id: str, run_key: str) -> list[Run]:
    return list(client.search_runs(
        [experiment_id], f"tags.`{RUN_KEY}` = '{run_key}'", run_view_type=ViewType.ACTIVE_ONLY, max_results=_MAX_RUNS
    ))


def _existing(experiment: str, experiment_id: str, run_key: str, parent: Run, runs: Sequence[Run]) -> PublishedRun:
    ids = json.loads(parent.data.tags[COMPLETE])
    known = PublishedRun(experiment, experiment_id, run_key, parent.info.run_id, ids["children"], ids["models"], False)
    alive = {run.info.run_id for run in runs}
    lost = [role for role, run_id in known.children.items() if run_id not in alive]
    if lost:
        logger.warning("runs of %s were deleted in MLflow: %s", run_key, ", ".join(lost))
        return replace(known, children={role: run for role, run in known.children.items() if run in alive})
    return known


def _delete(client: MlflowClient, runs: Sequence[Run]) -> None:
    for run in runs:
        for output in (run.outputs.model_outputs if run.outputs else []):
            client.delete_logged_model(output.model_id)
        client.delete_run(run.info.run_id)
