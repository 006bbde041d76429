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
from flows.outcome import Outcome, trials_table
from flows.report import write_and_attach
from flows.tasks import CACHED, REFUSED, failed, publish_task, register_task, run_stage_task
from nas_pipeline.errors import GateRefusal, NasError, Transient

logger = logging.getLogger(__name__)

_LAST_STAGE = "verify@"
"""Targets are those of the per-target stage with this prefix."""


@flow(name="pipeline", validate_parameters=False, persist_result=False)
def pipeline(root: str, publish_only: bool = False) -> State[Any]:
    """Run what has changed, publish it, register each target whose gates are green.

    A refused target is an answer, not a failure: the flow ends in Refused only where every target was refused.
    MLflow being down is a warning: the next run publishes what is missing.

    Args:
        root: The workspace.
        publish_only: Leave the stages as they are; MLflow being down is then a failure.
    """
    outcome = Outcome(Path(root))
    try:
        state = _run(root, publish_only, outcome)
        _show(outcome)
    finally:
        outcome.write()
    write_and_attach(outcome)  # not after Ctrl-C: whoever ends a run does not want to wait for a page
    return state


def _run(root: str, publish_only: bool, outcome: Outcome) -> State[Any]:
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
        return failed(error)
    if outcome.all_refused:
        message = "every target was refused: " + " | ".join(outcome.refusals())
        return Failed(name=REFUSED, message=message, data=GateRefusal(message))
    return Completed(message="done")


def _run_stage(root: str, stage: str, outcome: Outcome) -> None:
    logger.info("%s ...", stage)
    started = time.monotonic()
    state = run_stage_task(root, stage, return_state=True)
    wall_s = time.monotonic() - started
    word = "cached" if state.name == CACHED else "ran" if state.is_completed() else str(state.name).lower()
    outcome.stages[stage] = {"state": word, "wall_s": round(wall_s, 2)}
    logger.info("%s %s, %.1f s", stage, word, wall_s)
    _value(state)


def _publish(root: str, targets: list[str], outcome: Outcome, *, needed: bool) -> None:
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


def _register(root: str, target: str, outcome: Outcome) -> None:
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
    said = "is candidate" if registered["created"] else "was registered before"
    logger.info("%s version %s %s", registered["model"], registered["version"], said)


def _value(state: State[Any]) -> Any:
    """What a task's state holds; its error is raised."""
    value: Any = state.result(raise_on_failure=False)
    if state.is_completed():
        return value
    raise value if isinstance(value, Exception) else NasError(state.message or str(state))


def _show(outcome: Outcome) -> None:
    create_markdown_artifact(outcome.markdown(), key="summary")
    if rows := trials_table(outcome.root):
        create_table_artifact(rows, key="trials")
