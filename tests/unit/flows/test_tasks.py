"""Tasks return states. Their functions are called without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import TaskRun
from prefect.states import Failed

from flows import tasks
from nas_pipeline.errors import ConfigError, DataRefusal, GateRefusal, TrackingUnavailable
from tests.unit.flows.toy_workspace import runs


def test_a_stage_runs_once_and_is_cached_then(root: Path) -> None:
    first = tasks.run_stage_task.fn(str(root), "search")
    again = tasks.run_stage_task.fn(str(root), "search")
    assert (first.name, again.name) == ("Completed", "Cached")
    assert first.is_completed()
    assert again.is_completed()
    assert runs(root) == ["search"]


def test_a_refusal_is_the_state_refused_with_the_error(root: Path) -> None:
    (root / "fail.json").write_text(json.dumps({"stage": "search", "type": "DataRefusal", "message": "black rows"}))
    state = tasks.run_stage_task.fn(str(root), "search")
    assert (state.name, state.message) == ("Refused", "black rows")
    assert state.is_failed()
    assert isinstance(state.data, DataRefusal)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TrackingUnavailable("down"), True),
        (GateRefusal("red"), False),
        (ConfigError("typo"), False),
        (OSError("disk"), False),
    ],
)
def test_only_the_transient_is_retried(error: Exception, expected: bool) -> None:
    run = TaskRun(task_key="t", dynamic_key="0", flow_run_id=uuid4())
    for task in (tasks.run_stage_task, tasks.publish_task, tasks.register_task):
        condition: Any = task.retry_condition_fn
        assert task.retries == 2
        assert condition(task, run, Failed(data=error)) is expected


def test_mlflow_being_down_fails_the_task_with_a_transient(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "made" / "artifacts").rename(root / "artifacts")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    state = tasks.publish_task.fn(str(root), ["local-cpu"])
    assert (state.name, type(state.data)) == ("Failed", TrackingUnavailable)
