"""The flow `scheduled`: runs the pipeline in a worktree of a commit and notifies of refusals and failures."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed

from flows.child import running
from flows.lock import pipeline_turn
from flows.notify import alert, check_blocks
from flows.tasks import REFUSED, failed_state
from flows.worktree import commit_of, prune, remove, repository, share_work, worktree
from nas_pipeline.config.workspace import open_workspace
from nas_pipeline.core.files import read_json
from nas_pipeline.errors import ERRORS, GateRefusal, NasError

logger = logging.getLogger(__name__)

_RETAINED_WORKTREES = 3
"""Number of worktrees of failed or refused runs that are retained for inspection."""


@flow(
    name="scheduled", flow_run_name="{profile}", persist_result=False, on_failure=[alert], on_crashed=[alert],
    on_cancellation=[alert],
)
def scheduled(
    profile: str = "default",
    overrides: list[str] | None = None,
    ref: str = "HEAD",
    notify: list[str] | None = None,
    repo: str | None = None,
) -> State[Any]:
    """Runs the pipeline in a worktree of its own. The deployments in prefect.yaml contain the parameters.

    The deployments limit the number of concurrent runs, and define what happens to a run above the limit.

    Args:
        profile: `default`, or an overlay of profiles/.
        overrides: `key.path=value` pairs that replace values of params.yaml.
        ref: Branch, tag or commit to run.
        notify: Notification blocks, `TYPE/NAME`, for refusals and failures.
        repo: The repository; default: NAS_REPO, else the current folder.
    """
    try:
        check_blocks(notify or [])
        home = repository(Path(repo or os.environ.get("NAS_REPO") or "."))
        with pipeline_turn(home):
            return _run(home, profile, tuple(overrides or ()), ref)
    except NasError as error:
        return failed_state(error)


def _run(repo: Path, profile: str, overrides: tuple[str, ...], ref: str) -> State[Any]:
    prune(repo, _RETAINED_WORKTREES)
    with worktree(repo, _worktree_name(profile), ref) as tree:
        logger.info("commit %s in %s", commit_of(tree, "HEAD")[:12], tree)
        root = open_workspace(tree, profile, overrides)
        share_work(repo, root)
        code = _pipeline(repo, tree, root)
        state = _state(root, code)
        _copy_report(repo, tree, root)
        _show(root)
    if state.is_completed():
        remove(repo, tree)
    return state


def _worktree_name(profile: str) -> str:
    context = FlowRunContext.get()
    suffix = str(context.flow_run.id)[:8] if context and context.flow_run else str(os.getpid())
    return f"{profile}-{suffix}"


def _pipeline(repo: Path, tree: Path, root: Path) -> int:
    """Runs the pipeline in a process of its own, which imports the code of the commit. Returns the exit status."""
    variables = {"PYTHONPATH": str(tree)}
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{repo / 'mlflow.db'}"  # the worktree is removed
    if url := PREFECT_API_URL.value():
        variables["PREFECT_API_URL"] = url
    command = [sys.executable, "-m", "flows.pipeline", "--root", str(root)]
    with running(command, tree, variables, dropped=["PREFECT__", "NAS_REPO"]) as child:
        assert child.stdout is not None
        for line in child.stdout:
            logger.info("%s", line.rstrip())
        return child.wait()


def _state(root: Path, code: int) -> State[Any]:
    last = root / ".nas" / "last-run.json"
    result: dict[str, Any] = read_json(last) if last.is_file() else {}
    if code == 0:
        registered = [name for name, row in result.get("targets", {}).items() if row["registered"]]
        return Completed(message=f"registered: {', '.join(registered) or 'nothing'}")
    error = result.get("error") or {}
    refusals = [row["refusal"] for row in result.get("targets", {}).values() if row["refusal"]]
    message = error.get("message") or " | ".join(refusals) or f"ended with exit status {code}: see the log of the run"
    kind = ERRORS.get(error.get("type", ""), GateRefusal if code == 4 else NasError)
    return Failed(name=REFUSED if code == 4 else "Failed", message=message, data=kind(message))


def _copy_report(repo: Path, tree: Path, root: Path) -> None:
    """Copies the report to reports/scheduled/NAME of the repository, where it remains when the worktree is removed."""
    reports = root / "reports"
    if reports.is_dir():
        shutil.copytree(reports, repo / "reports" / "scheduled" / tree.name, dirs_exist_ok=True)


def _show(root: Path) -> None:
    last = root / ".nas" / "last-run.json"
    if not last.is_file():
        return
    result = read_json(last)
    lines = [f"- {name}: {row['state']}, {row['wall_s']:.0f} s" for name, row in result["stages"].items()]
    lines += [f"- {name}: {row['registered'] or row['refusal'] or row['skipped']}"
              for name, row in result["targets"].items()]
    create_markdown_artifact("\n".join(["# Run", "", *lines]), key="scheduled-run")
