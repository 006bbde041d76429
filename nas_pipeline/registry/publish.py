"""Replays the artefacts of one pass of the pipeline as MLflow runs. Idempotent: one key is one parent run.

The parent run's tag `pipeline.complete` is set last. A replay that was interrupted left a parent without it: the
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
from nas_pipeline.registry.runs import Recorder, summary, write_export, write_retrain, write_search
from nas_pipeline.registry.statement import Statement, read_statement
from nas_pipeline.registry.tags import COMPLETE, DVC_LOCK, PARAMS, PATCH, ROLE, RUN_KEY, uncommitted

logger = logging.getLogger(__name__)

_PARENT = "pipeline"
_MAX_RUNS = 1000


@dataclass(frozen=True, slots=True)
class Published:
    """The runs of one pass: the parent, its children by role (`search`, `retrain`, `export/TARGET`), the models."""

    experiment: str
    experiment_id: str
    run_key: str
    run_id: str
    children: dict[str, str]
    models: dict[str, str]
    """Target -> id of the logged model."""
    created: bool
    """False where the runs were there already."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Published:
        """Read what `to_json` wrote."""
        return cls(**value)


def publish(
    root: Path,
    *,
    run_key: str,
    tags: Mapping[str, str],
    tracking_uri: str | None = None,
    targets: Sequence[str] | None = None,
) -> Published:
    """Write the runs of the pass `run_key` under the experiment `nas/DATASET`, unless they are there.

    Args:
        root: The workspace whose artefacts are read.
        run_key: Identity of the pass; see `tags.run_key`.
        tags: Tags of the parent run; see `tags.provenance`.
        tracking_uri: Default: MLFLOW_TRACKING_URI, else an SQLite file in `root`.
        targets: Default: every target that was verified.

    Raises:
        TrackingUnavailable: MLflow does not answer.
        RegistryError: An artefact is missing or damaged, or MLflow refuses.
    """
    dataset = read_dataset(root)
    with tracking(root, tracking_uri) as client:
        experiment_id = _experiment(client, root, f"nas/{dataset.name}", tracking_uri)
        found = _runs(client, experiment_id, run_key)
        parent = next((run for run in found if run.data.tags.get(ROLE) == _PARENT), None)
        if parent is not None and COMPLETE in parent.data.tags:
            return _already(f"nas/{dataset.name}", experiment_id, run_key, parent, found)
        _delete(client, found)
        results = read_results(root, targets)
        return _replay(Recorder(client, experiment_id, run_key), results, tags, read_statement(root))


def _replay(recorder: Recorder, results: Results, tags: Mapping[str, str], statement: Statement) -> Published:
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
            found = evidence(results, target, statement, {RUN_KEY: recorder.run_key, **tags})
            children[f"export/{target}"], models[target] = write_export(recorder, parent, target, results, found)
        recorder.log(parent, tags={COMPLETE: canonical_json({"children": children, "models": models})})
    except Exception:
        logger.warning("publishing %s was interrupted; the next publish starts it again", recorder.run_key)
        raise
    recorder.end(parent)
    logger.info("published %s: %d runs of %d trials", recorder.run_key, 1 + len(children), len(results.trials))
    experiment = f"nas/{results.dataset.name}"
    return Published(experiment, recorder.experiment_id, recorder.run_key, parent, children, models, created=True)


def _write_parent(recorder: Recorder, run_id: str, results: Results) -> None:
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
    """The lineage of a run: name, digest, source and counts of the data set; MLflow keeps 36 characters of a digest."""
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


def _experiment(client: MlflowClient, root: Path, name: str, given: str | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location(tracking_uri(root, given), name)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # somebody else was faster
    if experiment is None or experiment.lifecycle_stage != "active":
        raise RegistryError(f"the MLflow experiment {name!r} was deleted: restore it, or purge it with `mlflow gc`")
    return str(experiment.experiment_id)


def _runs(client: MlflowClient, experiment_id: str, run_key: str) -> list[Run]:
    found = client.search_runs(
        [experiment_id], f"tags.`{RUN_KEY}` = '{run_key}'", run_view_type=ViewType.ACTIVE_ONLY, max_results=_MAX_RUNS
    )
    return list(found)


def _already(experiment: str, experiment_id: str, run_key: str, parent: Run, found: Sequence[Run]) -> Published:
    ids = json.loads(parent.data.tags[COMPLETE])
    known = Published(experiment, experiment_id, run_key, parent.info.run_id, ids["children"], ids["models"], False)
    alive = {run.info.run_id for run in found}
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
