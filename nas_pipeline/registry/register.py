"""Registers a verified target as a model version with the alias `candidate`; a red gate refuses it.

There is one registered model per (data set, target). A bundle has one version, however often it is registered.
"""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from nas_pipeline.errors import GateRefusal, RegistryError
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.gates.gate import all_green, refusal_message
from nas_pipeline.gates.verification import RegistrationCase, registration_gates
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.model_card import MARKDOWN
from nas_pipeline.registry.onnx_model import EVIDENCE
from nas_pipeline.registry.publish import PublishedRun
from nas_pipeline.registry.results import TargetResult, read_dataset, read_target
from nas_pipeline.registry.runs import gate_tags
from nas_pipeline.registry.tags import EVIDENCE_SHA256, RUN_KEY, WITHDRAWN

logger = logging.getLogger(__name__)

CANDIDATE = "candidate"
CHAMPION = "champion"
_FURTHER_ALIASES = {"canary", CHAMPION}
"""A version with one of these aliases does not get `candidate` again."""

_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Registered:
    """A model version."""

    model: str
    version: str
    target: str
    bundle_digest: str
    created: bool
    """False where the bundle had a version already."""

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)


def register(root: Path, target: str, *, published: PublishedRun, tracking_uri: str | None = None) -> Registered:
    """Registers the network of `target` from the published run under the alias `candidate`.

    Raises:
        GateRefusal: A gate is red, or the latency was not measured on the target; each is named.
        RegistryError: The target was not published, or has changed since.
        TrackingUnavailable: MLflow does not respond.
    """
    result = read_target(root, target)
    results = registration_gates(RegistrationCase(result.latency, result.bundle, result.gates))
    if not all_green(results):
        raise GateRefusal(refusal_message(f"target {target} is not registered", results))
    name = model_name(read_dataset(root).name, target)
    if target not in published.models:
        raise RegistryError(f"target {target!r} is not in the published run: publish the pipeline first")
    with tracking(root, tracking_uri) as client:
        model = client.get_logged_model(published.models[target])
        if model.tags.get("bundle.digest") != result.bundle.digest:
            raise RegistryError(f"the bundle of {target!r} has changed since it was published: publish it again")
        version = _existing(client, name, result.bundle.digest)
        created = version is None
        if version is None:
            version = _create(client, name, result, published, model)
        _set_candidate(client, version)
    logger.info("%s version %s is the candidate for %s", name, version.version, target)
    return Registered(name, str(version.version), target, result.bundle.digest, created)


def model_name(dataset: str, target: str) -> str:
    """Returns the name of the registered model: `DATASET--TARGET`.

    Raises:
        RegistryError: The name is not valid in MLflow's aliases and URIs.
    """
    name = f"{dataset}--{target}"
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name!r} cannot be a registered model: use letters, digits, _ and - in the names")
    return name


def _existing(client: MlflowClient, name: str, digest: str) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{name}' and tags.`bundle.digest` = '{digest}'")
    return max(versions, key=lambda version: int(version.version), default=None)


def _create(
    client: MlflowClient, name: str, result: TargetResult, published: PublishedRun, model: LoggedModel
) -> ModelVersion:
    target = result.bundle.target
    try:
        client.create_registered_model(name, tags={"target": target, "experiment": published.experiment})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {
        RUN_KEY: published.run_key,
        "bundle.digest": result.bundle.digest,
        "genotype.id": result.bundle.genotype.id,
        "sha256": result.bundle.files[MODEL_FILE],
        EVIDENCE_SHA256: model.tags.get(EVIDENCE_SHA256, ""),
        **gate_tags(result),
    }
    # A source `models:/ID` is resolved at MLflow's global tracking URI, which may differ from this client's.
    return client.create_model_version(
        name, model.artifact_location, run_id=published.children.get(f"export/{target}"), tags=tags,
        model_id=published.models[target], description=_description(result),
    )


def _description(result: TargetResult) -> str:
    bundle, latency = result.bundle, result.latency
    accuracy = bundle.metrics.get("test_accuracy")
    tested = f"test accuracy {100 * accuracy:.2f} %, " if accuracy is not None else ""
    return (f"{bundle.precision}, {tested}p95 {latency.p95_ms:.3f} ms ({latency.evidence}), "
            f"{bundle.metrics.get('size_bytes', 0):,.0f} bytes. Model card: {EVIDENCE}/{MARKDOWN} in its files.")


def _set_candidate(client: MlflowClient, version: ModelVersion) -> None:
    current = client.get_model_version(version.name, version.version)
    aliases = set(current.aliases)
    if CANDIDATE not in aliases and not aliases & _FURTHER_ALIASES and WITHDRAWN not in current.tags:
        client.set_registered_model_alias(version.name, CANDIDATE, version.version)
