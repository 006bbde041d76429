"""Reads code, parameters and digests of a published run from MLflow: enough to repeat the run."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from nas_pipeline.errors import RegistryError
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.tags import DVC_LOCK, PARAMS, PATCH, ROLE, RUN_KEY

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Origin:
    """Code, parameters and digests of a run."""

    run_id: str
    run_key: str
    commit: str
    params: str
    """Text of params.yaml with overlays and overrides applied."""
    lock: str
    """Text of dvc.lock."""
    patch: str
    """The uncommitted changes as a patch of git; empty for a clean tree."""
    requirements_sha256: str

    def outputs(self) -> dict[str, str]:
        """Returns path -> md5 of all outputs of the stages."""
        return outputs(self.lock)


def outputs(lock: str) -> dict[str, str]:
    """Returns path -> md5 of the outputs in the text of a dvc.lock.

    Raises:
        RegistryError: The text is not a dvc.lock.
    """
    try:
        stages: dict[str, Any] = yaml.safe_load(lock)["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(f"the text is not a dvc.lock ({type(error).__name__}: {error}): publish again") from error


def read_origin(root: Path, run: str, uri: str | None = None) -> Origin:
    """Returns the origin of a run.

    Args:
        root: The workspace, which determines the default tracking URI.
        run: Id of a pipeline's parent run or of one of its children, or the run key.
        uri: Tracking URI; default as for publishing.

    Raises:
        RegistryError: There is no such run, or it was published without a file that repeating it needs.
        TrackingUnavailable: MLflow does not respond.
    """
    with tracking(root, uri) as client:
        parent = _parent(client, run)
        tags = parent.data.tags
        commit = tags.get("git.commit", UNKNOWN)
        if commit == UNKNOWN:
            raise RegistryError(f"run {run} was published from a folder without git: its code is not known, so it "
                                "cannot be repeated. Keep the project in git and publish from there")
        texts = {name: _text(client, parent.info.run_id, name) for name in (PARAMS, DVC_LOCK, PATCH)}
    missing = [name for name in (PARAMS, DVC_LOCK) if texts[name] is None]
    if tags.get("git.dirty") == "true" and texts[PATCH] is None:
        missing.append(PATCH)
    if missing:
        raise RegistryError(
            f"run {run} was published without {', '.join(missing)}, so it cannot be repeated: delete it in MLflow, "
            f"check out {commit[:12]}, and run `nas publish` in the folder that still has its artefacts"
        )
    return Origin(
        parent.info.run_id, tags[RUN_KEY], commit, texts[PARAMS] or "", texts[DVC_LOCK] or "", texts[PATCH] or "",
        tags.get("requirements.lock.sha256", UNKNOWN),
    )


def _parent(client: MlflowClient, run: str) -> Run:
    try:
        current = client.get_run(run)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        return _by_key(client, run)
    while parent := current.data.tags.get(MLFLOW_PARENT_RUN_ID):
        current = client.get_run(parent)
    if RUN_KEY not in current.data.tags or current.data.tags.get(ROLE) != "pipeline":
        raise RegistryError(f"run {run} was not published by this pipeline: `nas report` and MLflow list its runs")
    return current


def _by_key(client: MlflowClient, key: str) -> Run:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = key.replace("'", "")
    runs = client.search_runs(
        experiments, f"tags.`{RUN_KEY}` = '{wanted}' and tags.`{ROLE}` = 'pipeline'",
        run_view_type=ViewType.ACTIVE_ONLY, max_results=1,
    )
    if not runs:
        raise RegistryError(f"MLflow has no run {key!r}: pass the id of a run as MLflow shows it, or a run key; "
                            "MLFLOW_TRACKING_URI sets the tracking server")
    return runs[0]


def _text(client: MlflowClient, run_id: str, name: str) -> str | None:
    if name not in {artifact.path for artifact in client.list_artifacts(run_id)}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return Path(client.download_artifacts(run_id, name, scratch)).read_text(encoding="utf-8")
