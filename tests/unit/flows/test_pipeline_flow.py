"""The pipeline flow against a real server: a complete run, a refusal, a transient failure, MLflow down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State

from flows import tasks
from flows.pipeline_flow import pipeline
from nas_pipeline.errors import DataRefusal, GateRefusal
from nas_pipeline.registry.connection import tracking
from tests.unit.flows.toy_workspace import runs, write_workspace

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def last_run(root: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((root / ".nas" / "last-run.json").read_text())
    return value


def fail(root: Path, **how: object) -> None:
    (root / "fail.json").write_text(json.dumps(how))


def task_states(state: State[Any]) -> dict[str, str]:
    run_filter = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        return {run.name: str(run.state_name) for run in client.read_task_runs(flow_run_filter=run_filter)}


def test_a_second_run_of_the_pipeline_is_cached(root: Path) -> None:
    assert pipeline(str(root), return_state=True).is_completed()
    first = last_run(root)
    assert {row["state"] for row in first["stages"].values()} == {"ran"}
    assert first["targets"]["local-cpu"]["registered"] == "1"
    assert "evidence proxy (bound measured)" in first["targets"]["raspberry-pi-4"]["refusal"]
    assert "refused for raspberry-pi-4" in (root / "reports" / "index.html").read_text()
    with tracking(root) as client:
        assert [file.path for file in client.list_artifacts(first["published"]["run_id"], "report")] == [
            "report/index.html"
        ]
    ran = runs(root)
    state = pipeline(str(root), return_state=True)
    again = last_run(root)
    assert {row["state"] for row in again["stages"].values()} == {"cached"}
    assert again["published"]["run_id"] == first["published"]["run_id"]
    assert again["targets"]["local-cpu"]["registered"] == "1"
    assert runs(root) == ran
    names = task_states(state)
    assert names["search"] == names["publish"] == "Cached"
    assert names["register@raspberry-pi-4"] == "Refused"


def test_a_refusal_ends_the_flow_in_the_state_refused(root: Path) -> None:
    fail(root, stage="search", type="DataRefusal", message="black rows")
    state = pipeline(str(root), return_state=True)
    assert state.name == "Refused"
    assert isinstance(state.result(raise_on_failure=False), DataRefusal)
    assert last_run(root)["error"] == {"type": "DataRefusal", "message": "black rows"}
    assert runs(root) == ["search"], "never retried"


def test_a_transient_error_is_retried(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.run_stage_task, "retry_delay_seconds", [0.1, 0.1])
    fail(root, stage="search", type="TrackingUnavailable", message="later", once=True)
    assert tasks.run_stage_task(str(root), "search", return_state=True).name == "Completed"
    assert runs(root) == ["search", "search"]


def test_all_targets_refused_and_mlflow_down(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.publish_task, "retry_delay_seconds", [0.1, 0.1])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert pipeline(str(root), return_state=True).name == "Completed", "a warning, not a failure"
    down = last_run(root)
    assert "does not respond" in down["unpublished"]
    assert all("not published" in row["skipped"] for row in down["targets"].values())
    assert not pipeline(str(root), publish_only=True, return_state=True).is_completed()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (root / "params.yaml").write_text("targets:\n  raspberry-pi-4: {probe: local}\n")
    state = pipeline(str(root), publish_only=True, return_state=True)
    assert state.name == "Refused"
    assert isinstance(state.result(raise_on_failure=False), GateRefusal)
    assert last_run(root)["stages"] == {}


def test_as_a_program(tmp_path: Path) -> None:
    root = tmp_path / "alone"
    write_workspace(root, targets=())
    (root / "params.yaml").write_text("targets: {}\n")
    stage = root / "stage.py"
    stage.write_text("import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(60)\n")
    (root / "made" / "artifacts" / "search").mkdir(parents=True)
    (root / "made" / "artifacts" / "search" / "trials.json").write_text("[]")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.pipeline", "--root", str(root)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.startswith("pid "))
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=240)  # three processes have to exit, on a busy machine too
    assert process.returncode == 130, errors
    assert "run the same command again" in rest
    assert "Traceback" not in rest + errors
    assert not Path("/proc", line.split()[1]).exists()
