"""The artefacts of a tiny pipeline, as the stages would leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from nas_pipeline.core.files import sha256_file, write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import (
    DatasetManifest,
    GateResult,
    InputSpec,
    LatencyReport,
    ModelBundle,
    Parity,
    TrainResult,
)
from nas_pipeline.export.drift_reference import drift_reference, write_drift_reference
from nas_pipeline.export.golden import make_golden, write_golden
from nas_pipeline.export.val_predictions import predict_val

SPEC = InputSpec(channels=1, height=4, width=4, classes=3)
GENOTYPE = Genotype("toy", 1, (("depth", 2), ("width", 8)))
TRIALS = 30


def _network(path: Path, step: int) -> None:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "toy",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, [16, 3], [float(i % step) for i in range(48)])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))


def _trial(number: int) -> dict[str, Any]:
    genotype = Genotype("toy", 1, (("depth", number),))
    failed = number == 7
    return {
        "number": number,
        "genotype_id": genotype.id,
        "genotype": None if failed else genotype.to_json(),
        "state": "fail" if failed else "complete",
        "metrics": {} if failed else {"val_accuracy": 0.5 + number / 100, "latency_ms": 1.0 + number, "macs": 10.0},
        "violations": {"latency_ms": 0.2} if number > 27 else {},
        "wall_s": 1.0,
        "device_s": 1.0,
    }


def write_artifacts(root: Path) -> None:
    """Two targets: `local-cpu` green, `raspberry-pi-4` red and known by proxy only."""
    folder = root / "artifacts"
    manifest = DatasetManifest(
        "toy-set", "d" * 64, SPEC, {"train": 9, "test": 3}, ("a", "b", "c"), (0.5,), (0.2,), {"source": "drawn"}
    )
    write_json(folder / "ingest" / "dataset.json", manifest.to_json())
    write_json(folder / "validate" / "report.json", {"success": True, "expectations": []})
    write_json(folder / "search" / "trials.json", [_trial(number) for number in range(TRIALS)])
    winner = {"genotype": GENOTYPE.to_json(), "number": 27, "metrics": {"val_accuracy": 0.77}, "why": "best feasible"}
    write_json(folder / "search" / "winner.json", winner)
    write_json(folder / "search" / "metrics.json", {"trials": TRIALS, "best_val_accuracy": 0.77})
    result = TrainResult(
        GENOTYPE, manifest.digest, {"lr": 0.1}, (0, 1), (0.8, 0.82), (0.79, 0.81), (2, 2), (3.0, 3.0), 51, 48
    )
    write_json(folder / "retrain" / "result.json", result.to_json())
    write_json(folder / "retrain" / "baselines.json", {})
    curve = [{"epoch": e, "loss": 1 / e, "val_accuracy": 0.4 * e, "lr": 0.1, "images_per_s": 100.0} for e in (1, 2)]
    write_json(folder / "retrain" / "history.json", {"winner/seed-0": curve, "winner/seed-1": curve})
    write_json(folder / "retrain" / "metrics.json", {"test_accuracy": 0.8})
    (folder / "retrain" / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    for target, evidence, passed in (("local-cpu", "measured", True), ("raspberry-pi-4", "proxy", False)):
        write_target(root, target, evidence, passed)
    for file in ("params.yaml", "dvc.lock", "requirements.lock"):
        (root / file).write_text(f"# {file}\n")


def write_target(root: Path, target: str, evidence: str, passed: bool, step: int = 5) -> str:
    """Another `step` makes another file; returns its sha256."""
    exported, verified = root / "artifacts" / "export" / target, root / "artifacts" / "verify" / target
    exported.mkdir(parents=True, exist_ok=True)
    _network(exported / "model.onnx", step)
    digest = sha256_file(exported / "model.onnx")
    bundle = ModelBundle(
        target, GENOTYPE, {"model.onnx": digest}, SPEC, "fp32", {"val_accuracy": 0.82, "size_bytes": 400.0},
        Parity(64, 1.0, 1e-6), {"commit": "abc", "mean": [0.5], "std": [0.2]},
    )
    write_json(exported / "bundle.json", bundle.to_json())
    images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4, 1)
    write_golden(exported, make_golden(exported / "model.onnx", images, (0.5,), (0.2,)))
    inputs = ((images.transpose(0, 3, 1, 2) / np.float32(255) - 0.5) / 0.2).astype(np.float32)
    predictions = predict_val(exported / "model.onnx", inputs, np.zeros(3, np.int64), images)
    write_drift_reference(exported, drift_reference(predictions, images, SPEC.classes))
    latency = LatencyReport(evidence, 1.0, 1.1, 1.2, 1.3, 100, 2, 1, 0.1, True, digest, 0.5)  # type: ignore[arg-type]
    write_json(verified / "latency.json", latency.to_json())
    gates = [
        GateResult("accuracy", True, 0.82, 0.7),
        GateResult("latency", passed, 1.2, 2.0 if passed else 1.0, "" if passed else "too slow"),
    ]
    write_json(verified / "gates.json", [gate.to_json() for gate in gates])
    write_json(verified / "metrics.json", {"p95_ms": 1.2})
    return digest
