"""The artefacts of a small finished run of the pipeline. `python -m tests.unit.report.toy_run DIR` writes
one with its page, for the check in a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from nas_pipeline.core.files import write_json
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
from nas_pipeline.export.val_predictions import ValPredictions, write_val_predictions
from nas_pipeline.report.page import PageContext, write_page
from nas_pipeline.space import SPACES
from nas_pipeline.space.choosers import DecisionRecorder, RandomChooser

SPEC = InputSpec(channels=1, height=28, width=28, classes=3)
CLASSES = ("ankle <b>boot</b>", "coat", "shirt & tie")
TRIALS = 14


def member(seed: int) -> Genotype:
    space = SPACES.make("residual")
    recorder = DecisionRecorder(RandomChooser(Random(seed)))
    space.decide(recorder)
    return Genotype(space.name, space.version, tuple(recorder.genes))


def trial(number: int, rung: int = 0) -> dict[str, Any]:
    genotype, random = member(number), Random(f"toy/{number}/{rung}")
    state = "fail" if number == 3 else "pruned" if number in (5, 9) else "complete"
    over = number == 7
    metrics = {"val_accuracy": 0.85 + 0.05 * rung + 0.05 * random.random(), "latency_ms": 0.3 + random.random(),
               "params": 50_000.0, "macs": 5e6, "size_bytes": 60_000.0}
    return {
        "number": number, "rung": rung, "state": state, "genotype": genotype.to_json(), "genotype_id": genotype.id,
        "metrics": {} if state == "fail" else metrics, "curve": [], "violations": {"latency_ms": 0.2} if over else {},
        "feasible": state == "complete" and not over, "device_s": 10.0, "wall_s": 12.0, "same_as": None, "failure": "",
    }


def result(genotype: Genotype, test: tuple[float, ...], params: int) -> TrainResult:
    seeds = tuple(range(len(test)))
    return TrainResult(
        genotype, "d" * 64, {"learning_rate": 0.1}, seeds, tuple(value + 0.01 for value in test), test,
        tuple(3.0 for _ in seeds), tuple(100.0 for _ in seeds), params, 2_500_000,
    )


def predictions(images: int = 60) -> ValPredictions:
    labels = np.arange(images, dtype=np.int64) % 3
    answers = labels.copy()
    answers[:6] = (labels[:6] + 1) % 3
    pictures = np.arange(6 * 28 * 28, dtype=np.int64).reshape(6, 28, 28, 1).astype(np.uint8)
    return ValPredictions(labels, answers, np.full(images, 0.9, np.float32), np.arange(6), pictures)


def deliver(artifacts: Path, target: str, proxy: bool) -> None:
    bundle = ModelBundle(
        target, member(0), {"model.onnx": "f" * 64}, SPEC, "int8",
        {"size_bytes": 54_321.0, "val_accuracy": 0.9, "test_accuracy": 0.89}, Parity(60, 0.998, 0.01), {},
    )
    quantiles = tuple(0.3 + 0.002 * share for share in range(101))
    latency = LatencyReport("proxy" if proxy else "measured", 0.4, 0.45, 0.49, 0.498, 2000, 5, 1, 0.1, True, "f" * 64,
                            0.2, {"cpu": "toy", "cores": 2, "max_spread": 0.25}, quantiles)
    gates = [GateResult("latency_p95_ms", True, 0.49, 1.0), GateResult("size_bytes", True, 54_321.0, 1_000_000.0),
             GateResult("test_accuracy", True, 0.89, 0.85),
             GateResult("evidence", not proxy, latency.evidence, "measured", "rank only" if proxy else "")]
    write_json(artifacts / "export" / target / "bundle.json", bundle.to_json())
    write_val_predictions(artifacts / "export" / target, predictions())
    write_json(artifacts / "verify" / target / "latency.json", latency.to_json())
    write_json(artifacts / "verify" / target / "gates.json", [gate.to_json() for gate in gates])


def write_run(root: Path) -> None:
    artifacts, winner = root / "artifacts", trial(0, rung=1)
    manifest = DatasetManifest("toy-set", "d" * 64, SPEC, {"train": 900, "val": 60}, CLASSES, (0.5,), (0.2,))
    write_json(artifacts / "ingest" / "dataset.json", manifest.to_json())
    checks = [{"success": True, "rule": "every image decodes", "observed": "0 of 960 rows fail"}]
    write_json(artifacts / "validate" / "report.json", {"success": True, "engine": "toy 1", "expectations": checks})
    write_json(artifacts / "search" / "trials.json", [*map(trial, range(TRIALS)), winner])
    write_json(artifacts / "search" / "winner.json", {**winner, "why": "best of 2"})
    write_json(artifacts / "search" / "metrics.json", {"trials": TRIALS, "feasible": TRIALS, "device_s": 150.0})
    write_json(artifacts / "retrain" / "result.json", result(member(0), (0.89, 0.9), 98_765).to_json())
    write_json(artifacts / "retrain" / "baselines.json", {"by_hand": result(member(1), (0.88,), 264_842).to_json()})
    curve = [{"epoch": float(epoch), "val_accuracy": 0.9 - 0.3 / epoch} for epoch in range(1, 9)]
    write_json(artifacts / "retrain" / "history.json", {"winner/seed-0": curve, "by_hand/seed-0": curve[:5]})
    deliver(artifacts, "laptop", proxy=False)
    deliver(artifacts, "watch", proxy=True)
    nothing = {"registered": None, "model": None, "refusal": None, "skipped": None}
    write_json(root / ".nas" / "last-run.json", {
        "targets": {"laptop": {**nothing, "registered": "3"}, "watch": {**nothing, "refusal": "evidence: proxy"}},
        "stages": {"search": {"state": "ran", "wall_s": 80.0}, "retrain": {"state": "cached", "wall_s": 0.1}},
        "wall_s": 90.0, "error": None, "published": None, "unpublished": "MLflow is down",
    })


if __name__ == "__main__":
    write_run(Path(sys.argv[1]))
    write_page(Path(sys.argv[1]), PageContext(strategy="tpe"))
