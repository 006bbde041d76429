"""Versions with predictions, registered by the product's own code without a run of the whole pipeline for each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient

from nas_pipeline.core.files import write_json
from nas_pipeline.core.predictions import Predictions, write_predictions
from nas_pipeline.core.records import GateResult
from nas_pipeline.export.golden import FILE as GOLDEN
from nas_pipeline.registry.evidence import evidence
from nas_pipeline.registry.publish import PublishedRun
from nas_pipeline.registry.register import model_name, register
from nas_pipeline.registry.results import read_results
from nas_pipeline.registry.runs import RunRecorder, write_export
from nas_pipeline.registry.statement import Statement
from tests.unit.gates.toy_versions import predictions
from tests.unit.registry.toy_artifacts import write_target


class Versions:
    """The registered model of one target."""

    def __init__(self, root: Path, store: str, published: PublishedRun, target: str) -> None:
        self.root, self.store, self.target, self.published = root, store, target, published
        self.client = MlflowClient(tracking_uri=store)
        self.model = model_name("toy-set", target)
        self.created = 0
        self.golden = True
        """False: as registered before there were golden vectors."""

    def add(
        self, wrong: set[int] | None = None, recorded_predictions: Predictions | None = None, **latency: Any
    ) -> str:
        """Register a version that errs at the images `wrong`; returns its number."""
        self.created += 1
        artefacts = self.root / "artifacts"
        sha256 = write_target(self.root, self.target, "measured", True, step=5 + self.created)
        if not self.golden:
            (artefacts / "export" / self.target / GOLDEN).unlink()
        verified = artefacts / "verify" / self.target
        gates = [GateResult("latency_p95_ms", True, 1.2, 2.0), GateResult("size_bytes", True, 400.0, 1000.0),
                 GateResult("test_accuracy", True, 0.97, 0.9)]
        write_json(verified / "gates.json", [gate.to_json() for gate in gates])
        bundle = json.loads((artefacts / "export" / self.target / "bundle.json").read_text())
        bundle["metrics"]["fp32_val_accuracy"] = bundle["metrics"]["val_accuracy"]
        write_json(artefacts / "export" / self.target / "bundle.json", bundle)
        if wrong is not None:
            recorded_predictions = predictions(wrong)
        recorded = artefacts / "retrain" / "predictions.npz"
        recorded.unlink(missing_ok=True)
        if recorded_predictions is not None:
            write_predictions(recorded, {sha256: recorded_predictions})
        recorder = RunRecorder(self.client, self.published.experiment_id, f"{self.target}-{self.created}")
        parent = recorder.start("pipeline", "pipeline")
        results = read_results(self.root, [self.target])
        if latency:  # registered by an earlier, laxer program
            result = results.targets[self.target]
            write_json(verified / "latency.json", replace(result.latency, **latency).to_json())
        files = evidence(results, self.target, Statement(), {})
        if latency:
            write_json(verified / "latency.json", result.latency.to_json())
        run_id, model_id = write_export(recorder, parent, self.target, results, files)
        published = replace(
            self.published, run_key=recorder.run_key, children={f"export/{self.target}": run_id},
            models={self.target: model_id},
        )
        return register(self.root, self.target, published=published, tracking_uri=self.store).version

    @property
    def aliases(self) -> dict[str, str]:
        """Alias -> version."""
        return {name: str(version) for name, version in self.client.get_registered_model(self.model).aliases.items()}

    def stored(self, version: str, file: str) -> Path:
        """A file of a version, where MLflow keeps it."""
        source = str(self.client.get_model_version(self.model, version).source)
        return Path(unquote(urlsplit(source).path)) / file

    def tags(self, version: str) -> dict[str, str]:
        """Of a version."""
        return dict(self.client.get_model_version(self.model, version).tags)
