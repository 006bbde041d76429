"""Creates a registered model again: the same version numbers, tags, evidence, events and aliases. Runs get new ids.

MLflow numbers versions from 1 and the number cannot be chosen. Versions are therefore created in order, and a number
without a bundle is created and deleted, so that the next version gets its own number. An interrupted rebuild continues
where it stopped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from nas_pipeline.core.files import read_json
from nas_pipeline.core.records import GateResult, LatencyReport, ModelBundle
from nas_pipeline.errors import RegistryError
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.registry.connection import artifact_location, tracking
from nas_pipeline.registry.connection import tracking_uri as uri_of
from nas_pipeline.registry.evidence import evidence_digest
from nas_pipeline.registry.onnx_model import EVIDENCE, log_onnx_model
from nas_pipeline.registry.register import CHAMPION
from nas_pipeline.registry.results import TargetResult
from nas_pipeline.registry.runs import RunRecorder
from nas_pipeline.registry.tags import EVIDENCE_SHA256

MISSING, REBUILT = "rebuild.missing", "rebuild.run"
"""Tag of a version whose bundle is lost; tag of a run with the id of the run that it replaces."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version as it is stored beside the releases."""

    number: int
    digest: str
    """Digest of the bundle; checked by the reader."""
    files: Mapping[str, bytes]
    """model.onnx, evidence/NAME."""
    run_files: Mapping[str, bytes]
    """Path in the run -> content."""
    record: Mapping[str, Any]
    """tags, description, run."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One registered model as it is stored beside the releases."""

    model: str
    versions: tuple[StoredVersion, ...]
    last: int
    """The highest version number that was ever assigned."""
    tags: Mapping[str, str]
    aliases: Mapping[str, str]
    description: str = ""
    experiment: str = ""
    left_out: tuple[str, ...] = field(default=())
    """One line for each version that is not trusted."""


def rebuild_model(root: Path, stored: StoredModel, *, tracking_uri: str | None = None) -> list[str]:
    """Creates what is missing of a model; returns one line per change. Aliases are set last, `champion` at the end.

    Raises:
        RegistryError: A version with the same number has another bundle, or MLflow assigns another number.
        TrackingUnavailable: MLflow does not respond.
    """
    uri, done = uri_of(root, tracking_uri), []
    with tracking(root, tracking_uri) as client:
        experiment = _experiment(client, stored, uri)
        _model(client, stored)
        existing = {int(entry.version): entry for entry in client.search_model_versions(f"name = '{stored.model}'")}
        wanted = {version.number: version for version in stored.versions}
        first = max(existing, default=0)
        for number in range(1, stored.last + 1):
            version, current = wanted.get(number), existing.get(number)
            if current is not None and MISSING in current.tags:
                client.delete_model_version(stored.model, str(number))
            elif current is not None:
                if version is not None and current.tags.get("bundle.digest") != version.digest:
                    raise RegistryError(f"{stored.model} has a version {number} of another bundle: this registry was "
                                        "used since; pass --tracking-uri of an empty one")
            elif version is None and number > first:
                _placeholder(client, stored.model, number, experiment)
                done.append(f"version {number} is omitted: the store has no bundle of it")
            elif version is not None:
                _version(client, stored, version, experiment)
                done.append(f"version {number} was created again: bundle {version.digest[:12]}")
        known = dict(client.get_registered_model(stored.model).tags)
        for name, value in stored.tags.items():
            if known.get(name) != value:
                client.set_registered_model_tag(stored.model, name, value)
        done += _aliases(client, stored)
    return done


def _experiment(client: MlflowClient, stored: StoredModel, uri: str) -> str:
    name = stored.experiment or stored.tags.get("experiment") or f"nas/{stored.model.partition('--')[0]}"
    experiment = client.get_experiment_by_name(name)
    return str(experiment.experiment_id if experiment else client.create_experiment(name, artifact_location(uri, name)))


def _model(client: MlflowClient, stored: StoredModel) -> None:
    try:
        client.create_registered_model(stored.model, description=stored.description or None)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _placeholder(client: MlflowClient, model: str, number: int, experiment: str) -> None:
    source = client.get_experiment(experiment).artifact_location
    created = client.create_model_version(model, source, tags={MISSING: "true"})
    client.delete_model_version(model, created.version)
    _check_number(model, created.version, number)


def _version(client: MlflowClient, stored: StoredModel, version: StoredVersion, experiment: str) -> None:
    run: Mapping[str, Any] = version.record.get("run") or {}
    tags = dict(version.record["tags"])
    recorder = RunRecorder(client, experiment, tags.get("pipeline.run_key", "rebuilt"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, content in version.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        evidence = folder / EVIDENCE
        bundle = ModelBundle.from_json(read_json(evidence / "bundle.json"))
        result = TargetResult(
            bundle, LatencyReport.from_json(read_json(evidence / "latency.json")),
            tuple(GateResult.from_json(gate) for gate in read_json(evidence / "gates.json")), folder, folder, None,
        )
        run_id = recorder.start(f"export {bundle.target}", f"export/{bundle.target}",
                                tags={**run.get("tags", {}), REBUILT: str(run.get("id", ""))})
        recorder.log(run_id, metrics=[(name, float(value), 0) for name, value in run.get("metrics", {}).items()],
                     params=run.get("params", {}))
        recorder.files(run_id, *(path for path in sorted(evidence.iterdir()) if path.suffix != ".npz"))
        for path, content in version.run_files.items():
            client.log_text(run_id, content.decode(), path)
        model_id = log_onnx_model(
            client, experiment_id=experiment, run_id=run_id, result=result, evidence=evidence,
            tags={"target": bundle.target, "bundle.digest": bundle.digest, "sha256": bundle.files[MODEL_FILE],
                  EVIDENCE_SHA256: evidence_digest({path.name: path.read_bytes() for path in evidence.iterdir()})},
        )
        recorder.end(run_id)
    source = client.get_logged_model(model_id).artifact_location
    created = client.create_model_version(stored.model, source, run_id=run_id, tags=tags, model_id=model_id,
                                       description=version.record.get("description") or None)
    _check_number(stored.model, created.version, version.number)


def _check_number(model: str, assigned: str, wanted: int) -> None:
    if int(assigned) != wanted:
        raise RegistryError(f"MLflow assigned version {assigned} of {model} instead of {wanted}: another process "
                            "registers at the same time, or versions were deleted; rebuild into an empty database")


def _aliases(client: MlflowClient, stored: StoredModel) -> list[str]:
    done = []
    now = client.get_registered_model(stored.model).aliases
    existing = {str(version.version) for version in client.search_model_versions(f"name = '{stored.model}'")}
    for alias in sorted(stored.aliases, key=lambda name: (name == CHAMPION, name)):
        version = stored.aliases[alias]
        if version in existing and str(now.get(alias, "")) != version:
            client.set_registered_model_alias(stored.model, alias, version)
            done.append(f"{alias} is version {version}")
        elif version not in existing:
            done.append(f"{alias} was version {version}, of which the store has no bundle")
    return done
