"""Reads a registered model as plain data: with the files of its versions, enough to create it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from nas_pipeline.registry.aliases import get_alias_state
from nas_pipeline.registry.connection import tracking

_BACKUP_FOLDERS = ("promotion", "release")
"""Folders of a run's artefacts with the gate results of events; all other files are in the version's evidence."""


@dataclass(frozen=True, slots=True)
class ModelBackup:
    """The content of one registered model."""

    content: dict[str, Any]
    """model, tags, description, aliases, versions: {number: {tags, description, run: {...}}}."""
    files: dict[str, dict[str, bytes]]
    """Bundle digest -> path in the run -> content."""


def read_backup(root: Path, model: str, *, tracking_uri: str | None = None) -> ModelBackup:
    """Returns everything that the registry holds about a model.

    Raises:
        RegistryError: There is no such model.
        TrackingUnavailable: MLflow does not respond.
    """
    with tracking(root, tracking_uri) as client:
        get_alias_state(client, model)  # raises with its message where there is no such model
        registered = client.get_registered_model(model)
        versions, files = {}, {}
        for version in client.search_model_versions(f"name = '{model}'"):
            tags = dict(version.tags)
            versions[str(version.version)] = {
                "tags": tags, "description": version.description or "", "run": _run(client, version.run_id),
            }
            if version.run_id and tags.get("bundle.digest"):
                files[tags["bundle.digest"]] = _gate_files(client, version.run_id)
        content = {
            "model": model, "tags": dict(registered.tags), "description": registered.description or "",
            "versions": versions,
            "aliases": {alias: str(number) for alias, number in sorted(registered.aliases.items())},
        }
    return ModelBackup(content, files)


def _run(client: MlflowClient, run_id: str | None) -> dict[str, Any]:
    if not run_id:
        return {}
    try:
        data = client.get_run(run_id).data
    except MlflowException:  # the run was deleted permanently
        return {}
    tags = {key: value for key, value in data.tags.items() if not key.startswith("mlflow.")}
    return {"id": run_id, "metrics": dict(data.metrics), "params": dict(data.params), "tags": tags}


def _gate_files(client: MlflowClient, run_id: str) -> dict[str, bytes]:
    files = {}
    for folder in _BACKUP_FOLDERS:
        for artifact in client.list_artifacts(run_id, folder):
            local = client.download_artifacts(run_id, artifact.path)
            files[artifact.path] = Path(unquote(urlsplit(local).path)).read_bytes()
    return files
