"""The flow `pipeline`: runs the stages of dvc.yaml in order, publishes to MLflow and registers the targets."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.dvc import stage_names
from flows.outcome import RunOutcome, trials_table
from flows.tasks import CACHED, REFUSED, failed_state, publish_task, register_task, run_stage_task
from nas_pipeline.actions.publish import attach_report, source_state
from nas_pipeline.actions.report import write_report
from nas_pipeline.errors import GateRefusal, NasError, Transient

logger = logging.getLogger(__name__)

_LAST_STAGE = "verify@"
"""Prefix of the per-target stage whose instances name the targets."""


@flow(name="pipeline", validate_parameters=False, persist_result=False)
def pipeline(root: str, publish_only: bool = False) -> State[Any]:
    """Runs the stale stages, publishes the result and registers each target whose gates are green.

    A refused target is a result, not a failure: the flow ends in Refused only if every target is refused. If MLflow
    does not respond, the flow logs a warning, and the next run publishes the result.

    Args:
        root: The workspace.
        publish_only: Run no stage. The flow then fails if MLflow does not respond.
    """
    outcome = RunOutcome(Path(root), provenance=source_state(Path(root)))
    try:
        state = _run(root, publish_only, outcome)
        _show(outcome)
    finally:
        outcome.write()
    _write_report(outcome)  # not after Ctrl-C, where the user would have to wait for it
    return state


def _run(root: str, publish_only: bool, outcome: RunOutcome) -> State[Any]:
    try:
        stages = stage_names(Path(root))
        if not publish_only:
            for stage in stages:
                _run_stage(root, stage, outcome)
        targets = [stage.removeprefix(_LAST_STAGE) for stage in stages if stage.startswith(_LAST_STAGE)]
        _publish(root, targets, outcome, needed=publish_only)
        for target in targets:
            _register(root, target, outcome)
    except NasError as error:
        outcome.error = {"type": type(error).__name__, "message": str(error)}
        return failed_state(error)
    if outcome.all_refused:
        message = "every target was refused: " + " | ".join(outcome.refusals())
        return Failed(name=REFUSED, message=message, data=GateRefusal(message))
    return Completed(message="done")


def _run_stage(root: str, stage: str, outcome: RunOutcome) -> None:
    logger.info("%s ...", stage)
    started = time.monotonic()
    state = run_stage_task(root, stage, return_state=True)
    wall_s = time.monotonic() - started
    result = "cached" if state.name == CACHED else "ran" if state.is_completed() else str(state.name).lower()
    outcome.stages[stage] = {"state": result, "wall_s": round(wall_s, 2)}
    logger.info("%s %s, %.1f s", stage, result, wall_s)
    _value(state)


def _publish(root: str, targets: list[str], outcome: RunOutcome, *, needed: bool) -> None:
    state = publish_task(root, targets, return_state=True)
    try:
        published = _value(state)
    except Transient as error:
        if needed:
            raise
        outcome.unpublished = str(error)
        logger.warning("not published: %s", error)
        return
    outcome.published = published
    logger.info("MLflow: %s, run %s", published["experiment"], published["run_id"])


def _register(root: str, target: str, outcome: RunOutcome) -> None:
    row: dict[str, Any] = {"registered": None, "model": None, "refusal": None, "skipped": None}
    outcome.targets[target] = row
    if outcome.published is None:
        row["skipped"] = f"not published: {outcome.unpublished}"
        return
    state = register_task(root, target, outcome.published, return_state=True)
    if state.name == REFUSED:
        row["refusal"] = state.message
        logger.info("refused: %s", state.message)
        return
    registered = _value(state)
    row["registered"], row["model"] = registered["version"], registered["model"]
    change = "is candidate" if registered["created"] else "is registered already"
    logger.info("%s version %s %s", registered["model"], registered["version"], change)


def _value(state: State[Any]) -> Any:
    """Returns the result that a task's state contains, or raises its error."""
    value: Any = state.result(raise_on_failure=False)
    if state.is_completed():
        return value
    raise value if isinstance(value, Exception) else NasError(state.message or str(state))


def _show(outcome: RunOutcome) -> None:
    create_markdown_artifact(outcome.markdown(), key="summary")
    if rows := trials_table(outcome.root):
        create_table_artifact(rows, key="trials")


def _write_report(outcome: RunOutcome) -> None:
    """Writes the report and logs it to the published run. An error is a warning: the run has its result already."""
    try:
        page = write_report(outcome.root)
        logger.info("report: %s", page)
        if outcome.published is not None:
            attach_report(outcome.root, outcome.published["run_id"], page)
    except (NasError, OSError) as error:
        logger.warning("report: %s", error)
