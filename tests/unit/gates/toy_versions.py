"""Toy versions for the tests of gates, with figures that a test can choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.predictions import Predictions
from nas_pipeline.core.records import GateResult, InputSpec, LatencyReport, ModelBundle, Parity
from nas_pipeline.gates.challenger import Challenger
from nas_pipeline.gates.policy import Policy, read_policy

NAMES = ("shirt", "coat", "bag")
SHA256 = "a" * 64


def policy(target: str = "here") -> Policy:
    """The policy of the repository."""
    return read_policy(Path(__file__).parents[3] / "mlflow" / "promotion.yaml", target)


def predictions(wrong: set[int], images: int = 3000, first_id: int = 0, retained: float = 0.9) -> Predictions:
    """`images` images of three classes in turn; those in `wrong` are predicted as the next class."""
    labels = np.arange(images) % 3
    predicted = labels.copy()
    for index in wrong:
        predicted[index] = (labels[index] + 1) % 3
    subset = np.arange(min(images, 100))
    answers = labels[subset].copy()
    wrong_part = slice(round(retained * len(subset)), None)
    answers[wrong_part] = (answers[wrong_part] + 1) % 3
    return Predictions(
        image_ids=np.arange(first_id, first_id + images, dtype=np.uint64), labels=labels, predicted=predicted,
        confidence=np.full(images, 0.97, dtype=np.float32), subset=subset,
        corrupted={"blur": answers, "noise": answers},
    )


def latency(**changes: Any) -> LatencyReport:
    figures: dict[str, Any] = {
        "evidence": "measured", "p50_ms": 1.0, "p90_ms": 1.1, "p95_ms": 1.2, "p99_ms": 1.3, "runs": 100, "processes": 2,
        "threads": 1, "spread": 0.1, "stable": True, "model_sha256": SHA256, "reference_p50_ms": 0.5,
    }
    return LatencyReport(**{**figures, **changes})


def bundle(**metrics: float) -> ModelBundle:
    figures = {"val_accuracy": 0.97, "fp32_val_accuracy": 0.971, "size_bytes": 400.0, **metrics}
    return ModelBundle(
        "here", Genotype("toy", 1, (("depth", 2),)), {"model.onnx": SHA256}, InputSpec(1, 4, 4, 3), "fp32", figures,
        Parity(64, 1.0, 1e-6), {},
    )


def challenger(**changes: Any) -> Challenger:
    """A version for which every gate is green."""
    verified = (
        GateResult("latency_p95_ms", True, 1.2, 2.0), GateResult("size_bytes", True, 400.0, 1000.0),
        GateResult("test_accuracy", True, 0.97, 0.9),
    )
    fields: dict[str, Any] = {
        "version": "2", "bundle": bundle(), "latency": latency(), "verified": verified, "data_valid": True,
        "predictions": predictions(set(range(0, 3000, 33))), "class_names": NAMES,
    }
    return Challenger(**{**fields, **changes})
