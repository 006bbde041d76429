"""SIGKILL in the search and in the retraining, then the same command: the end is that of an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pipeline.conftest import Finished
from tests.pipeline.small_project import log_of, make_workspace, run_pipeline, start_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]  # one run of the project serves them all

UNSTEADY = {"latency_ms", "fp32_latency_ms", "int8_latency_ms"}
"""Measured anew in every run; all else is a function of the seeds."""


def kill_when(root: Path, due: Callable[[], bool], *, all_at_once: bool) -> None:
    """SIGKILL the pipeline, with all its descendants as a power failure would, or alone: they end by themselves."""
    process = start_pipeline(root)
    deadline = time.monotonic() + 600
    while not due():
        assert process.poll() is None, log_of(root)
        assert time.monotonic() < deadline, "the moment to kill never came"
        time.sleep(0.05)
    descendants = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    for descendant in descendants if all_at_once else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            descendant.kill()
    process.wait()
    _, alive = psutil.wait_procs(descendants, timeout=300)
    assert not alive, f"{len(alive)} processes outlived the pipeline; {log_of(root)}"


def trials(root: Path) -> list[tuple[Any, ...]]:
    rows = json.loads((root / "artifacts/search/trials.json").read_text())
    return [
        (row["rung"], row["number"], row["state"], row["genotype_id"], row["curve"],
         {name: value for name, value in row["metrics"].items() if name not in UNSTEADY})
        for row in rows
    ]


def outcome(root: Path) -> dict[str, Any]:
    result = json.loads((root / "artifacts/retrain/result.json").read_text())
    return {key: result[key] for key in ("genotype", "val_accuracy", "test_accuracy", "epochs", "seeds")}


def test_killed_in_the_search_and_in_the_retraining(finished: Finished, tmp_path: Path) -> None:
    root = make_workspace(tmp_path)
    progress = root / ".nas/progress/search.json"
    kill_when(root, lambda: progress.exists() and json.loads(progress.read_text())["done"] >= 1, all_at_once=False)
    assert not (root / "artifacts/search/trials.json").exists()
    ingested = (root / "artifacts/ingest/train.npz").stat().st_mtime_ns

    kill_when(root, lambda: any(root.glob(".nas/retrain/*/progress.json")), all_at_once=True)
    assert not (root / "artifacts/retrain/result.json").exists()
    searched = (root / "artifacts/search/trials.json").stat().st_mtime_ns

    code, last = run_pipeline(root)
    assert code == 0, log_of(root)
    assert {name: last["stages"][name]["state"] for name in ("ingest", "validate", "search", "retrain")} == {
        "ingest": "cached", "validate": "cached", "search": "cached", "retrain": "ran",
    }
    assert (root / "artifacts/ingest/train.npz").stat().st_mtime_ns == ingested
    assert (root / "artifacts/search/trials.json").stat().st_mtime_ns == searched

    assert trials(root) == trials(finished.root)
    numbers = [row[:2] for row in trials(root)]
    assert numbers == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
    assert outcome(root) == outcome(finished.root)
