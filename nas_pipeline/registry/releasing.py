"""Reads a registered version for a release to a fleet: its files, its registry entry, and the results of the gates."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nas_pipeline.core.records import GateResult
from nas_pipeline.errors import PromotionRefusal, RegistryError
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.gates.challenger import Challenger
from nas_pipeline.gates.gate import all_green, refusal_message
from nas_pipeline.gates.policy import find_policy, read_policy
from nas_pipeline.gates.promotion import integrity_gates
from nas_pipeline.registry.aliases import get_alias_state, get_version, write_gate_results
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.connection import tracking_uri as uri_of
from nas_pipeline.registry.evidence import download, read_challenger, read_integrity
from nas_pipeline.registry.onnx_model import EVIDENCE
from nas_pipeline.registry.promote import evaluate_version
from nas_pipeline.registry.register import model_name
from nas_pipeline.registry.results import read_dataset

CANARY = "canary"
"""Alias of the version that is being rolled out."""


@dataclass(frozen=True, slots=True)
class Releasable:
    """A version whose gates are green, with everything that a release needs."""

    model: str
    version: str
    champion: bool
    """Whether the version is the champion already."""
    challenger: Challenger
    files: dict[str, bytes]
    """model.onnx, and evidence/NAME for each file of the evidence."""
    record: dict[str, Any]
    """Tags, description and run of the version. With the files, enough to register it again."""
    gates: tuple[GateResult, ...]

    @property
    def onnx(self) -> bytes:
        """Content of the file that devices run."""
        return self.files[MODEL_FILE]


def releasable(root: Path, target: str, *, version: str | None = None, tracking_uri: str | None = None) -> Releasable:
    """Returns a version of the model of `target` if all gates of promotion are green; their results are recorded.

    Args:
        root: The workspace, which determines the data set, the policy and the default of `tracking_uri`.
        target: Name of the target.
        version: Default: the candidate, else the champion.
        tracking_uri: Default: MLFLOW_TRACKING_URI, else an SQLite file in `root`.

    Raises:
        PromotionRefusal: A gate is red; each is named.
        RegistryError: There is no such version, or its evidence cannot be read.
        TrackingUnavailable: MLflow does not respond.
    """
    policy = read_policy(find_policy(root), target)
    uri, name = uri_of(root, tracking_uri), model_name(read_dataset(root).name, target)
    with tracking(root, tracking_uri) as client, tempfile.TemporaryDirectory() as folder:
        now = get_alias_state(client, name)
        number = version or now.candidate or now.champion
        if not number:
            raise RegistryError(f"{name} has neither candidate nor champion: select a version with --version")
        chosen = get_version(client, name, number)
        files = download(chosen, Path(folder), uri)
        champion = now.champion == str(chosen.version)
        if champion:  # its gates were green when it was promoted
            gates = integrity_gates(read_integrity(chosen, files))
        else:
            gates = evaluate_version(client, now, chosen, policy, uri, named=version is not None)
            when = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
            write_gate_results(client, chosen, f"release/{when}.json", gates, {"model": name, "for": "fleet"})
        if not all_green(gates):
            raise PromotionRefusal(refusal_message(f"version {chosen.version} of {name} is not released", gates))
        contents = {MODEL_FILE: (files / MODEL_FILE).read_bytes()}
        contents |= {f"{EVIDENCE}/{path.name}": path.read_bytes() for path in sorted((files / EVIDENCE).iterdir())}
        run = client.get_run(chosen.run_id) if chosen.run_id else None
        record = {
            "model": name, "version": str(chosen.version), "target": target, "tags": dict(chosen.tags),
            "description": chosen.description or "", "created_ms": chosen.creation_timestamp,
            "run": {"id": chosen.run_id, "metrics": dict(run.data.metrics), "params": dict(run.data.params),
                    "tags": {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")}}
            if run else {},
        }
        challenger = read_challenger(chosen, files)
    return Releasable(name, str(chosen.version), champion, challenger, contents, record, tuple(gates))


def set_canary(root: Path, model: str, version: str, *, tracking_uri: str | None = None) -> None:
    """Sets the alias `canary`: the last write of a release.

    Raises:
        RegistryError: There is no such version.
        TrackingUnavailable: MLflow does not respond.
    """
    with tracking(root, tracking_uri) as client:
        client.set_registered_model_alias(model, CANARY, version)
