"""The whole product on a small project: data to registry through Prefect and DVC, twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas_pipeline.stages.table import STAGES
from tests.pipeline.conftest import Finished
from tests.pipeline.small_project import log_of, run_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]  # one run of the project serves them all

NAMES = [name for stage in STAGES.values()
         for name in ([f"{stage.name}@here", f"{stage.name}@far"] if stage.per_target else [stage.name])]


def test_every_stage_runs_and_the_flow_ends_well(finished: Finished) -> None:
    assert finished.code == 0, log_of(finished.root)
    stages = finished.last_run["stages"]
    assert set(stages) == set(NAMES)
    assert {stage["state"] for stage in stages.values()} == {"ran"}


def test_a_measured_green_target_is_registered_and_a_proxy_is_refused(finished: Finished) -> None:
    targets = finished.last_run["targets"]
    assert int(targets["here"]["registered"]) == 1
    assert targets["far"]["registered"] is None
    assert "evidence" in targets["far"]["refusal"]
    gates = {gate["gate"]: gate["passed"] for gate in json.loads(
        (finished.root / "artifacts/verify/here/gates.json").read_text())}
    assert all(gates.values())
    assert {"latency_p95_ms", "evidence", "stability", "size_bytes", "test_accuracy", "validation"} <= set(gates)


def test_the_test_split_was_read_once_and_the_shipped_file_was_scored_in_that_read(finished: Finished) -> None:
    artifacts = finished.root / "artifacts"
    assert json.loads((artifacts / "retrain/metrics.json").read_text())["test_reads"] == 1
    assert len((finished.root / ".nas/test_reads.jsonl").read_text().splitlines()) == 1
    bundle = json.loads((artifacts / "export/here/bundle.json").read_text())
    known = json.loads((artifacts / "export/here/drift.json").read_text())
    val = np.load(artifacts / "export/here/val_predictions.npz")["labels"]
    assert known["images"] == len(val) == sum(known["classes"])
    files = json.loads((artifacts / "retrain/files.json").read_text())
    scored = {sha: entry for run in files.values() for sha, entry in run.items()}
    assert bundle["metrics"]["test_accuracy"] == scored[bundle["files"]["model.onnx"]]["accuracy"]
    assert bundle["metrics"]["test_seeds"] == 2


def test_a_second_run_finds_nothing_to_do(finished: Finished) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished.root / "artifacts").rglob("*") if path.is_file()}
    code, again = run_pipeline(finished.root)
    assert code == 0, log_of(finished.root)
    assert {stage["state"] for stage in again["stages"].values()} == {"cached"}
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert again["published"]["run_id"] == finished.last_run["published"]["run_id"]
    assert again["targets"]["here"]["registered"] == finished.last_run["targets"]["here"]["registered"]


def test_dvc_alone_finds_nothing_to_do_either(finished: Finished) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=finished.root, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "Data and pipelines are up to date." in done.stdout
    assert "Running stage" not in done.stdout


def test_the_summary_shows_what_was_measured(
    finished: Finished, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas_pipeline.cli.summary import print_summary

    monkeypatch.setenv("COLUMNS", "160")  # a narrow terminal breaks words
    print_summary(finished.root)
    shown = capsys.readouterr().out
    result = json.loads((finished.root / "artifacts/retrain/result.json").read_text())
    assert f"{result['params']:,}" in shown
    assert "dense_residual" in shown
    assert "candidate, version 1" in shown
    assert "refused" in shown


def test_the_summary_says_what_to_do_before_the_first_run(tmp_path: Path) -> None:
    from nas_pipeline.cli.summary import print_summary
    from nas_pipeline.errors import DataError

    with pytest.raises(DataError, match=r"dataset\.json is missing; run `make pipeline`"):
        print_summary(tmp_path)
