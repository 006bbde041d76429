"""What the registry says of a model, as plain data: enough, with the files of its versions, to make it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from nas_pipeline.registry.aliases import read_standing
from nas_pipeline.registry.connection import tracking

_KEPT_FOLDERS = ("promotion", "release")
"""Of a run's artefacts: the answers of gates that events point to. The rest lies in the version's evidence."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One registered model."""

    said: dict[str, Any]
    """model, tags, description, aliases, versions: {number: {tags, description, run: {...}}}."""
    files: dict[str, dict[str, bytes]]
    """Bundle digest -> path in the run -> content."""


def read_backup(root: Path, model: str, *, tracking_uri: str | None = None) -> Backup:
    """Read everything that is said of a model.

    Raises:
        RegistryError: There is no such model.
        TrackingUnavailable: MLflow does not answer.
    """
    with tracking(root, tracking_uri) as client:
        read_standing(client, model)  # its message, where there is none
        found = client.get_registered_model(model)
        versions, files = {}, {}
        for version in client.search_model_versions(f"name = '{model}'"):
            tags = dict(version.tags)
            versions[str(version.version)] = {
                "tags": tags, "description": version.description or "", "run": _run(client, version.run_id),
            }
            if version.run_id and tags.get("bundle.digest"):
                files[tags["bundle.digest"]] = _answers(client, version.run_id)
        said = {
            "model": model, "tags": dict(found.tags), "description": found.description or "", "versions": versions,
            "aliases": {alias: str(number) for alias, number in sorted(found.aliases.items())},
        }
    return Backup(said, files)


def _run(client: MlflowClient, run_id: str | None) -> dict[str, Any]:
    if not run_id:
        return {}
    try:
        data = client.get_run(run_id).data
    except MlflowException:  # deleted for good
        return {}
    tags = {key: value for key, value in data.tags.items() if not key.startswith("mlflow.")}
    return {"id": run_id, "metrics": dict(data.metrics), "params": dict(data.params), "tags": tags}


def _answers(client: MlflowClient, run_id: str) -> dict[str, bytes]:
    found = {}
    for folder in _KEPT_FOLDERS:
        for each in client.list_artifacts(run_id, folder):
            local = client.download_artifacts(run_id, each.path)
            found[each.path] = Path(unquote(urlsplit(local).path)).read_bytes()
    return found
