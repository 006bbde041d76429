"""A whole project in a folder: parameters so small that every stage takes seconds, on synthetic images."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from nas_pipeline.config.params import overlay
from nas_pipeline.config.workspace import prepare_workspace
from nas_pipeline.core.files import read_json

REPO = Path(__file__).resolve().parents[2]

# One precision: with two, the faster file is chosen by its measured latency, and runs would differ by chance.
PARAMS: dict[str, Any] = {
    "data": {
        "source": {"name": "synthetic", "options": {"train": 900, "test": 200, "classes": 4, "side": 16, "noise": 0.5}},
        "val": 200, "calib": 60,
    },
    "validation": {"min_per_class": 5, "max_class_drift": 0.1},
    "train": {"device": "cpu", "recipe": {"batch_size": 32, "learning_rate": 0.05, "precision": "fp32", "flip": False}},
    "search": {
        "space": {"name": "residual", "options": {"max_width": 24, "stages": [2], "blocks": [0, 1]}},
        "strategy": {"name": "nsga2", "options": {"population": 2}},
        "evaluator": {"name": "train", "options": {"epochs": 1.0, "evaluations": 2}},
        "objective": {"kind": "pareto", "objectives": {"val_accuracy": "maximize", "size_bytes": "minimize"}},
        "budget": {"trials": 4}, "finalists": {"count": 1, "options": {"epochs": 2.0}}, "workers": 1,
    },
    "retrain": {"seeds": 2, "epochs": 3.0, "workers": 2, "baselines": ["dense_residual"]},
    "export": {"max_int8_drop": 0.1, "min_agreement_int8": 0.8},
    "verify": {"processes": 2, "runs": 60, "warmup": 5, "max_spread": 10.0, "attempts": 1},
    "targets": {
        "here": {"probe": "local", "precision": "int8", "latency_ms": 500.0, "size_bytes": 3000000,
                 "min_accuracy": 0.3},
        "far": {"probe": "proxy", "host_factor": 4.0, "precision": "int8", "latency_ms": 2000.0, "size_bytes": 3000000,
                "min_accuracy": 0.3},
    },
}


def write_project(root: Path, **changes: Any) -> Path:
    """params.yaml in `root`, `changes` laid over the small parameters."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(overlay(PARAMS, changes), sort_keys=False))
    return root


def make_workspace(folder: Path) -> Path:
    """A workspace with the small parameters, of a skeleton of this repository in `folder`.

    The code that DVC hashes is a copy: what happens to the working tree meanwhile makes no stage stale.
    """
    skeleton = folder / "skeleton"
    (skeleton / ".dvc").mkdir(parents=True)
    for file in ("dvc.yaml", ".dvcignore"):
        shutil.copy(REPO / file, skeleton / file)
    for package in ("nas_pipeline", "edge_agent"):
        shutil.copytree(REPO / package, skeleton / package, ignore=shutil.ignore_patterns("__pycache__"))
    return prepare_workspace(skeleton, "small", yaml.safe_dump(PARAMS, sort_keys=False))


def start_pipeline(root: Path) -> subprocess.Popen[bytes]:
    """`python -m flows.pipeline` in the workspace `root`; what it says goes to `root`/pipeline.log."""
    given = {name: value for name, value in os.environ.items()
             if not name.startswith(("PREFECT_", "MLFLOW_")) and name != "PYTHONPATH"}
    with (root / "pipeline.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.pipeline", "--root", str(root)], cwd=REPO, env=given,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )


def run_pipeline(root: Path) -> tuple[int, dict[str, Any]]:
    """Exit status of a whole run, and what it left in .nas/last-run.json."""
    with start_pipeline(root) as child:
        code = child.wait()
    return code, read_json(root / ".nas" / "last-run.json")


def log_of(root: Path) -> str:
    """Everything that the pipelines of a workspace have said, for the message of a failed assertion."""
    return (root / "pipeline.log").read_text(encoding="utf-8", errors="replace")


def trials(root: Path) -> list[tuple[Any, ...]]:
    """The trials of a search without what was measured: a function of the seeds."""
    return [
        (row["rung"], row["number"], row["state"], row["genotype_id"], row["curve"],
         {name: value for name, value in row["metrics"].items() if not name.endswith("_ms")})
        for row in read_json(root / "artifacts" / "search" / "trials.json")
    ]
