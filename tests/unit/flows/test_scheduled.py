"""A scheduled run against a real server: worktree, registry, and the notification of a refusal by a real block."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

from flows.notify import check_blocks
from flows.scheduled import scheduled
from flows.serve import FILE, deployments
from flows.worktree import WORKTREES
from nas_pipeline.cli.options import open_profile_workspace
from nas_pipeline.config.workspace import WORK
from nas_pipeline.errors import ConfigError, DataRefusal
from tests.pipeline.small_project import write_project
from tests.unit.flows.toy_repository import REPO, git, write_repository

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return write_repository(tmp_path / "repo")


@pytest.fixture
def notifications() -> Iterator[list[dict[str, Any]]]:
    """The messages that the block `custom-webhook/toy` has sent."""
    received: list[dict[str, Any]] = []

    class Inbox(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Inbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        CustomWebhookNotificationBlock(
            name="toy", url=f"http://127.0.0.1:{server.server_port}/",
            json_data={"subject": "{{subject}}", "body": "{{body}}"},
        ).save("toy", overwrite=True)
        yield received
        server.shutdown()


def test_the_worktree_of_a_completed_run_is_removed(repo: Path, notifications: list[dict[str, Any]]) -> None:
    (repo / "stage.py").write_text("raise SystemExit('an edit that is not committed')")
    state = scheduled(repo=str(repo), notify=["custom-webhook/toy"], return_state=True)
    assert (state.name, state.message) == ("Completed", "registered: local-cpu")
    assert list((repo / WORKTREES).iterdir()) == []
    assert (repo / "mlflow.db").is_file()
    assert not (repo / "artifacts").exists()
    assert notifications == []


def test_a_refusal_is_notified_and_its_worktree_remains(repo: Path, notifications: list[dict[str, Any]]) -> None:
    (repo / "fail.json").write_text('{"stage": "search", "type": "DataRefusal", "message": "black rows"}')
    git(repo, "add", ".")
    git(repo, "commit", "-m", "black rows")
    state = scheduled(repo=str(repo), notify=["custom-webhook/toy"], return_state=True)
    assert (state.name, state.message) == ("Refused", "black rows")
    assert isinstance(state.result(raise_on_failure=False), DataRefusal)
    (message,) = notifications
    assert message["subject"] == "scheduled default: Refused"
    assert message["body"].startswith("black rows")
    (tree,) = (repo / WORKTREES).iterdir()
    assert json.loads((tree / "artifacts/search/error.json").read_text())["type"] == "DataRefusal"


def test_the_workspace_of_a_schedule_is_that_of_the_command_line(repo: Path) -> None:
    write_project(repo)
    git(repo, "commit", "--all", "-m", "parameters")
    overrides = ["search.seed=3", "retrain.seeds=2"]
    state = scheduled(repo=str(repo), overrides=overrides, return_state=True)
    assert not state.is_completed(), "the toy's stage.py is not part of a workspace, so the worktree stays"
    (tree,) = (repo / WORKTREES).iterdir()
    (workspace,) = (tree / WORK).iterdir()
    assert workspace.name == open_profile_workspace(repo, "default", overrides[::-1]).name


def test_a_missing_block_is_reported_at_the_start(repo: Path) -> None:
    state = scheduled(repo=str(repo), notify=["custom-webhook/nobody"], return_state=True)
    assert "'custom-webhook/nobody', which Prefect's server does not have" in str(state.message)
    assert isinstance(state.result(raise_on_failure=False), ConfigError)
    assert not (repo / WORKTREES).exists(), "no worktree was created"


def test_a_block_that_cannot_send_notifications_is_reported() -> None:
    Secret(value="hidden").save("toy-secret", overwrite=True)
    with pytest.raises(ConfigError, match=r"'secret/toy-secret', which cannot send notifications: it is a Secret"):
        check_blocks(["secret/toy-secret"])


def test_the_server_can_write_the_runs_of_a_schedule() -> None:
    """With SQLAlchemy 2.1 it cannot, and reports it in its log only: schedules never start a run."""
    nightly = next(served for served in deployments(REPO / FILE) if served.name == "nightly")
    deployment_id = nightly.apply()
    assert isinstance(deployment_id, UUID)
    with get_client(sync_client=True) as client:
        client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment_id}, json={"min_runs": 3})
        runs = client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])))
    assert len(runs) >= 3
    assert all(run.state_name == "Scheduled" for run in runs)
