"""A whole project in a folder: parameters so small that every stage takes seconds, on synthetic images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nas_pipeline.params import overlay

PARAMS: dict[str, Any] = {
    "data": {
        "source": {"name": "synthetic", "options": {"train": 900, "test": 200, "classes": 4, "side": 16}},
        "val": 200, "calib": 60,
    },
    "validation": {"min_per_class": 5, "max_class_drift": 0.1},
    "train": {"device": "cpu", "recipe": {"batch_size": 32, "learning_rate": 0.05, "precision": "fp32", "flip": False}},
    "search": {
        "space": {"name": "residual", "options": {"max_width": 24, "stages": [2], "blocks": [0, 1]}},
        "strategy": {"name": "nsga2", "options": {"population": 2}},
        "evaluator": {"name": "train", "options": {"epochs": 1.0, "evaluations": 2}},
        "aim": {"kind": "pareto", "objectives": {"val_accuracy": "maximize", "size_bytes": "minimize"}},
        "budget": {"trials": 4}, "finalists": {"count": 1, "options": {"epochs": 2.0}}, "workers": 1,
    },
    "retrain": {"seeds": 2, "epochs": 3.0, "workers": 2, "baselines": ["dense_residual"]},
    "export": {"max_int8_drop": 0.1, "min_agreement": 0.8},
    "verify": {"processes": 2, "runs": 60, "warmup": 5, "max_spread": 10.0, "attempts": 1},
    "targets": {
        "here": {"probe": "local", "latency_ms": 500.0, "size_bytes": 3000000, "min_accuracy": 0.3},
        "far": {"probe": "proxy", "host_factor": 4.0, "latency_ms": 2000.0, "size_bytes": 3000000, "min_accuracy": 0.3},
    },
}


def write_project(root: Path, **changes: Any) -> Path:
    """params.yaml in `root`, `changes` laid over the small parameters."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(overlay(PARAMS, changes), sort_keys=False))
    return root
