"""What a published run was made of, read back from MLflow: enough to make it again."""

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
    """A run's code, parameters and digests."""

    run_id: str
    run_key: str
    commit: str
    params: str
    """Text of params.yaml, overlays and overrides in it."""
    lock: str
    """Text of dvc.lock."""
    patch: str
    """What was not committed, as git prints it; empty for a clean tree."""
    requirements_sha256: str

    def outputs(self) -> dict[str, str]:
        """Path -> md5 of everything that the stages wrote."""
        return outputs(self.lock)


def outputs(lock: str) -> dict[str, str]:
    """Path -> md5 of the outputs in the text of a dvc.lock.

    Raises:
        RegistryError: It is not one.
    """
    try:
        stages: dict[str, Any] = yaml.safe_load(lock)["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(f"this is no dvc.lock ({type(error).__name__}: {error}): publish the run again") from error


def read_origin(root: Path, run: str, given: str | None = None) -> Origin:
    """The origin of a run.

    Args:
        root: The workspace, for where its MLflow is.
        run: Id of a pipeline's run or of one of its children, or its run key.
        given: Tracking URI; default as for publishing.

    Raises:
        RegistryError: There is no such run, or it was published without what it takes to make it again.
        TrackingUnavailable: MLflow does not answer.
    """
    with tracking(root, given) as client:
        found = _parent(client, run)
        tags = found.data.tags
        commit = tags.get("git.commit", UNKNOWN)
        if commit == UNKNOWN:
            raise RegistryError(f"run {run} was published from a folder without git: its code is not known, so it "
                                "cannot be made again. Keep the project in git and publish from there")
        texts = {name: _text(client, found.info.run_id, name) for name in (PARAMS, DVC_LOCK, PATCH)}
    missing = [name for name in (PARAMS, DVC_LOCK) if texts[name] is None]
    if tags.get("git.dirty") == "true" and texts[PATCH] is None:
        missing.append(PATCH)
    if missing:
        raise RegistryError(
            f"run {run} was published without {', '.join(missing)}, so it cannot be made again: delete it in MLflow, "
            f"check out {commit[:12]}, and `nas publish` from the folder that still has its artefacts"
        )
    return Origin(
        found.info.run_id, tags[RUN_KEY], commit, texts[PARAMS] or "", texts[DVC_LOCK] or "", texts[PATCH] or "",
        tags.get("requirements.lock.sha256", UNKNOWN),
    )


def _parent(client: MlflowClient, run: str) -> Run:
    try:
        found = client.get_run(run)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        return _by_key(client, run)
    while parent := found.data.tags.get(MLFLOW_PARENT_RUN_ID):
        found = client.get_run(parent)
    if RUN_KEY not in found.data.tags or found.data.tags.get(ROLE) != "pipeline":
        raise RegistryError(f"run {run} is not one of this pipeline's: `nas report` and MLflow's pages name those")
    return found


def _by_key(client: MlflowClient, key: str) -> Run:
    experiments = [each.experiment_id for each in client.search_experiments()]
    wanted = key.replace("'", "")
    found = client.search_runs(
        experiments, f"tags.`{RUN_KEY}` = '{wanted}' and tags.`{ROLE}` = 'pipeline'",
        run_view_type=ViewType.ACTIVE_ONLY, max_results=1,
    )
    if not found:
        raise RegistryError(f"MLflow has no run {key!r}: give the id of a run as its page shows it, or a run key; "
                            "MLFLOW_TRACKING_URI says which MLflow is asked")
    return found[0]


def _text(client: MlflowClient, run_id: str, name: str) -> str | None:
    if name not in {each.path for each in client.list_artifacts(run_id)}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return Path(client.download_artifacts(run_id, name, scratch)).read_text(encoding="utf-8")
