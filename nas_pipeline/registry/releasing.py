"""What a registered version brings to a fleet: its files behind a whole seal, and the answers of the gates."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nas_pipeline.core.records import GateResult
from nas_pipeline.errors import PromotionRefusal, RegistryError
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.gates.challenger import Contender
from nas_pipeline.gates.policy import find_policy, read_policy
from nas_pipeline.gates.promotion import seal_gates, told
from nas_pipeline.registry.aliases import get_version, read_standing, write_answers
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.connection import tracking_uri as uri_of
from nas_pipeline.registry.evidence import download, read_contender, seal
from nas_pipeline.registry.onnx_model import EVIDENCE
from nas_pipeline.registry.promote import answers_about
from nas_pipeline.registry.register import model_name
from nas_pipeline.registry.results import read_dataset

CANARY = "canary"
"""Alias of the version that a roll-out is on its way with."""


@dataclass(frozen=True, slots=True)
class Releasable:
    """A version that may be released."""

    model: str
    version: str
    champion: bool
    """Whether it is in use already."""
    contender: Contender
    files: dict[str, bytes]
    """model.onnx, and evidence/NAME for each file of the evidence."""
    record: dict[str, Any]
    """What the registry says of it: tags, description, run. With the files, enough to register it again."""
    gates: tuple[GateResult, ...]

    @property
    def onnx(self) -> bytes:
        """The file that devices run."""
        return self.files[MODEL_FILE]


def releasable(root: Path, target: str, *, version: str | None = None, tracking_uri: str | None = None) -> Releasable:
    """A version of the model of `target`, if its seal holds and every gate of promotion is green; they are noted.

    Args:
        root: The workspace: it says which data set, which policy and where MLflow is.
        target: Whose model.
        version: Default: the candidate, else the champion.
        tracking_uri: Default: MLFLOW_TRACKING_URI, else an SQLite file in `root`.

    Raises:
        PromotionRefusal: A gate is red; each is named.
        RegistryError: There is no such version, or its evidence cannot be read.
        TrackingUnavailable: MLflow does not answer.
    """
    policy = read_policy(find_policy(root), target)
    uri, name = uri_of(root, tracking_uri), model_name(read_dataset(root).name, target)
    with tracking(root, tracking_uri) as client, tempfile.TemporaryDirectory() as folder:
        now = read_standing(client, name)
        number = version or now.candidate or now.champion
        if not number:
            raise RegistryError(f"{name} has neither candidate nor champion: name a version with --version")
        chosen = get_version(client, name, number)
        files = download(chosen, Path(folder), uri)
        champion = now.champion == str(chosen.version)
        if champion:  # its gates were green when it was promoted
            gates = seal_gates(seal(chosen, files))
        else:
            gates = answers_about(client, now, chosen, policy, uri, named=version is not None)
            when = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
            write_answers(client, chosen, f"release/{when}.json", gates, {"model": name, "for": "fleet"})
        red = [gate for gate in gates if not gate.passed]
        if red:
            raise PromotionRefusal(f"version {chosen.version} of {name} is not released: {told(red)}")
        kept = {MODEL_FILE: (files / MODEL_FILE).read_bytes()}
        kept |= {f"{EVIDENCE}/{path.name}": path.read_bytes() for path in sorted((files / EVIDENCE).iterdir())}
        run = client.get_run(chosen.run_id) if chosen.run_id else None
        record = {
            "model": name, "version": str(chosen.version), "target": target, "tags": dict(chosen.tags),
            "description": chosen.description or "", "created_ms": chosen.creation_timestamp,
            "run": {"id": chosen.run_id, "metrics": dict(run.data.metrics), "params": dict(run.data.params),
                    "tags": {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")}}
            if run else {},
        }
        contender = read_contender(chosen, files)
    return Releasable(name, str(chosen.version), champion, contender, kept, record, tuple(gates))


def set_canary(root: Path, model: str, version: str, *, tracking_uri: str | None = None) -> None:
    """Move the alias `canary`; the last write of a release.

    Raises:
        RegistryError: There is no such version.
        TrackingUnavailable: MLflow does not answer.
    """
    with tracking(root, tracking_uri) as client:
        client.set_registered_model_alias(model, CANARY, version)
