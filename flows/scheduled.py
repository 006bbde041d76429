"""One scheduled run: a worktree of a commit, the pipeline in it, and word to those who want to know of a no."""

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
from flows.notify import check_blocks, tell
from flows.tasks import REFUSED, failed
from flows.worktree import commit_of, prune, remove, repository, share_work, worktree
from nas_pipeline.config.workspace import open_workspace
from nas_pipeline.core.files import read_json
from nas_pipeline.errors import ERRORS, GateRefusal, NasError

logger = logging.getLogger(__name__)

_KEPT = 3
"""Worktrees of runs that did not succeed, kept to be looked at."""


@flow(
    name="scheduled", flow_run_name="{profile}", persist_result=False, on_failure=[tell], on_crashed=[tell],
    on_cancellation=[tell],
)
def scheduled(
    profile: str = "default",
    overrides: list[str] | None = None,
    ref: str = "HEAD",
    notify: list[str] | None = None,
    repo: str | None = None,
) -> State[Any]:
    """Run the pipeline in a worktree of its own. The parameters are those of a deployment in prefect.yaml.

    The deployments say how many at once, and what becomes of one too many.

    Args:
        profile: `default`, or an overlay of profiles/.
        overrides: `key.path=value`, each laid over params.yaml.
        ref: The branch, tag or commit that is run.
        notify: Notification blocks, `TYPE/NAME`, that are told of a Refusal or a failure.
        repo: The repository; default: NAS_REPO, else where the process runs.
    """
    try:
        check_blocks(notify or [])
        home = repository(Path(repo or os.environ.get("NAS_REPO") or "."))
        with pipeline_turn(home):
            return _run(home, profile, tuple(overrides or ()), ref)
    except NasError as error:
        return failed(error)


def _run(repo: Path, profile: str, overrides: tuple[str, ...], ref: str) -> State[Any]:
    prune(repo, _KEPT)
    with worktree(repo, _name(profile), ref) as tree:
        logger.info("commit %s in %s", commit_of(tree, "HEAD")[:12], tree)
        root = open_workspace(tree, profile, overrides)
        share_work(repo, root)
        code = _pipeline(repo, tree, root)
        state = _state(root, code)
        _keep_report(repo, tree, root)
        _show(root)
    if state.is_completed():
        remove(repo, tree)
    return state


def _name(profile: str) -> str:
    context = FlowRunContext.get()
    mark = str(context.flow_run.id)[:8] if context and context.flow_run else str(os.getpid())
    return f"{profile}-{mark}"


def _pipeline(repo: Path, tree: Path, root: Path) -> int:
    """A process of its own, for its code is that of the commit, not ours."""
    given = {"PYTHONPATH": str(tree)}
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        given["MLFLOW_TRACKING_URI"] = f"sqlite:///{repo / 'mlflow.db'}"  # the worktree's own would go with it
    if url := PREFECT_API_URL.value():
        given["PREFECT_API_URL"] = url
    command = [sys.executable, "-m", "flows.pipeline", "--root", str(root)]
    with running(command, tree, given, dropped=["PREFECT__", "NAS_REPO"]) as child:
        assert child.stdout is not None
        for line in child.stdout:
            logger.info("%s", line.rstrip())
        return child.wait()


def _state(root: Path, code: int) -> State[Any]:
    last = root / ".nas" / "last-run.json"
    found: dict[str, Any] = read_json(last) if last.is_file() else {}
    if code == 0:
        registered = [name for name, row in found.get("targets", {}).items() if row["registered"]]
        return Completed(message=f"registered: {', '.join(registered) or 'nothing'}")
    error = found.get("error") or {}
    refusals = [row["refusal"] for row in found.get("targets", {}).values() if row["refusal"]]
    message = error.get("message") or " | ".join(refusals) or f"ended with exit status {code}: see the log of the run"
    kind = ERRORS.get(error.get("type", ""), GateRefusal if code == 4 else NasError)
    return Failed(name=REFUSED if code == 4 else "Failed", message=message, data=kind(message))


def _keep_report(repo: Path, tree: Path, root: Path) -> None:
    """The report outlives the worktree: reports/scheduled/NAME."""
    made = root / "reports"
    if made.is_dir():
        shutil.copytree(made, repo / "reports" / "scheduled" / tree.name, dirs_exist_ok=True)


def _show(root: Path) -> None:
    last = root / ".nas" / "last-run.json"
    if not last.is_file():
        return
    found = read_json(last)
    lines = [f"- {name}: {row['state']}, {row['wall_s']:.0f} s" for name, row in found["stages"].items()]
    lines += [f"- {name}: {row['registered'] or row['refusal'] or row['skipped']}"
              for name, row in found["targets"].items()]
    create_markdown_artifact("\n".join(["# Run", "", *lines]), key="scheduled-run")
