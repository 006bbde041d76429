"""Makes a registered model again: the same version numbers, tags, evidence, events and aliases. Runs get new ids.

MLflow counts versions from 1 and lets nobody choose: so they are made in order, and a number of which no bundle is
left is made and deleted, so that the next one gets its own. What was interrupted goes on where it stopped.
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
from nas_pipeline.registry.runs import Recorder
from nas_pipeline.registry.tags import EVIDENCE_SHA256

MISSING, REBUILT = "rebuild.missing", "rebuild.run"
"""Tag of a version whose bundle is lost; tag of a run: the id of the one that it stands for."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One version, as the store has it."""

    number: int
    digest: str
    """Of its bundle; checked by who read it."""
    files: Mapping[str, bytes]
    """model.onnx, evidence/NAME."""
    run_files: Mapping[str, bytes]
    """Path in the run -> content."""
    said: Mapping[str, Any]
    """tags, description, run."""


@dataclass(frozen=True, slots=True)
class KeptModel:
    """One registered model, as the store has it."""

    model: str
    versions: tuple[Kept, ...]
    last: int
    """The highest number that was ever given."""
    tags: Mapping[str, str]
    aliases: Mapping[str, str]
    description: str = ""
    experiment: str = ""
    left_out: tuple[str, ...] = field(default=())
    """What cannot be believed, in words."""


def rebuild_model(root: Path, kept: KeptModel, *, tracking_uri: str | None = None) -> list[str]:
    """Make what is missing of a model; returns what was done, in words. Aliases are set last, `champion` last of all.

    Raises:
        RegistryError: A version of that number is there and is of another bundle, or MLflow numbers differently.
        TrackingUnavailable: MLflow does not answer.
    """
    uri, done = uri_of(root, tracking_uri), []
    with tracking(root, tracking_uri) as client:
        experiment = _experiment(client, kept, uri)
        _model(client, kept)
        there = {int(each.version): each for each in client.search_model_versions(f"name = '{kept.model}'")}
        wanted = {each.number: each for each in kept.versions}
        first = max(there, default=0)
        for number in range(1, kept.last + 1):
            version, found = wanted.get(number), there.get(number)
            if found is not None and MISSING in found.tags:
                client.delete_model_version(kept.model, str(number))
            elif found is not None:
                if version is not None and found.tags.get("bundle.digest") != version.digest:
                    raise RegistryError(f"{kept.model} has a version {number} of another bundle: this registry was in "
                                        "use since; give --tracking-uri of an empty one")
            elif version is None and number > first:
                _placeholder(client, kept.model, number, experiment)
                done.append(f"version {number} is left out: no bundle of it is in the store")
            elif version is not None:
                _version(client, kept, version, experiment)
                done.append(f"version {number} is there again: bundle {version.digest[:12]}")
        known = dict(client.get_registered_model(kept.model).tags)
        for name, value in kept.tags.items():
            if known.get(name) != value:
                client.set_registered_model_tag(kept.model, name, value)
        done += _aliases(client, kept)
    return done


def _experiment(client: MlflowClient, kept: KeptModel, uri: str) -> str:
    name = kept.experiment or kept.tags.get("experiment") or f"nas/{kept.model.partition('--')[0]}"
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name, artifact_location(uri, name)))


def _model(client: MlflowClient, kept: KeptModel) -> None:
    try:
        client.create_registered_model(kept.model, description=kept.description or None)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _placeholder(client: MlflowClient, model: str, number: int, experiment: str) -> None:
    source = client.get_experiment(experiment).artifact_location
    made = client.create_model_version(model, source, tags={MISSING: "true"})
    client.delete_model_version(model, made.version)
    _see_number(model, made.version, number)


def _version(client: MlflowClient, kept: KeptModel, version: Kept, experiment: str) -> None:
    told: Mapping[str, Any] = version.said.get("run") or {}
    tags = dict(version.said["tags"])
    recorder = Recorder(client, experiment, tags.get("pipeline.run_key", "rebuilt"))
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
                                tags={**told.get("tags", {}), REBUILT: str(told.get("id", ""))})
        recorder.log(run_id, metrics=[(name, float(value), 0) for name, value in told.get("metrics", {}).items()],
                     params=told.get("params", {}))
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
    made = client.create_model_version(kept.model, source, run_id=run_id, tags=tags, model_id=model_id,
                                       description=version.said.get("description") or None)
    _see_number(kept.model, made.version, version.number)


def _see_number(model: str, made: str, wanted: int) -> None:
    if int(made) != wanted:
        raise RegistryError(f"MLflow gave {model} the version {made} where {wanted} was due: somebody registers at the "
                            "same time, or had versions that were deleted; rebuild into an empty database")


def _aliases(client: MlflowClient, kept: KeptModel) -> list[str]:
    done = []
    now = client.get_registered_model(kept.model).aliases
    there = {str(each.version) for each in client.search_model_versions(f"name = '{kept.model}'")}
    for alias in sorted(kept.aliases, key=lambda name: (name == CHAMPION, name)):
        version = kept.aliases[alias]
        if version in there and str(now.get(alias, "")) != version:
            client.set_registered_model_alias(kept.model, alias, version)
            done.append(f"{alias} is version {version}")
        elif version not in there:
            done.append(f"{alias} was version {version}, of which there is no bundle")
    return done
