"""Flow `rollout`, every 15 minutes: collects reports, and takes one step of every roll-out. A stop is a Refusal."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.notify import alert, check_blocks
from flows.resign import NO_FLEET
from flows.tasks import REFUSED, failed_state
from flows.worktree import repository
from nas_pipeline.actions.devices import (
    RolloutProgress,
    RolloutRun,
    advance_rollouts,
    collect_reports,
    write_fleet_page,
)
from nas_pipeline.actions.fleet import has_fleet
from nas_pipeline.actions.rollout_text import change_text, rollout_line
from nas_pipeline.errors import NasError, RolloutRefusal
from nas_pipeline.fleet.rollout.state_machine import Stop

logger = logging.getLogger(__name__)

WHO = "flow rollout"
"""Author of the journal entries."""


@flow(
    name="rollout", persist_result=False, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert],
)
def rollout(notify: list[str] | None = None, repo: str | None = None) -> State[Any]:
    """Take one step of every roll-out.

    Args:
        notify: Notification blocks, `TYPE/NAME`, that are notified when a roll-out is stopped or the flow fails.
        repo: The repository; default: NAS_REPO, else the current directory.
    """
    try:
        check_blocks(notify or [])
        root = repository(Path(repo or os.environ.get("NAS_REPO") or "."))
        return run(root) if has_fleet(root) else Completed(message=NO_FLEET)
    except NasError as error:
        return failed_state(error)


def run(root: Path) -> State[Any]:
    """Collects reports, decides, signs, and writes the page. An unavailable registry does not delay a roll-out.

    Returns:
        Failed if a change cannot be signed, Refused if a roll-out was stopped, else Completed.

    Raises:
        NasError: The fleet cannot be read.
    """
    collected = collect_reports(root, None)
    if collected is not None:
        logger.info("%d reports accepted, %d quarantined", collected.accepted, len(collected.rejected))
    result = advance_rollouts(root, who=WHO)
    lines = [*map(rollout_line, result.progress), *(f"FAILED: {error}" for error in result.failures)]
    for line in lines:
        logger.info("%s", line)
    logger.info("fleet page: %s", write_fleet_page(root))
    create_markdown_artifact("\n".join(["# Roll-outs", "", *(f"- {line}" for line in lines)]), key="rollout")
    return _state_of(result)


def _state_of(result: RolloutRun) -> State[Any]:
    stops = [_stop_text(progress) for progress in result.progress if isinstance(progress.step.decision, Stop)]
    try:
        result.raise_failures()
    except NasError as error:
        return Failed(name="Failed", message=" | ".join([str(error), *stops]), data=error)
    if stops:
        message = " | ".join(stops)
        return Failed(name=REFUSED, message=message, data=RolloutRefusal(message))
    return Completed(message="; ".join(map(rollout_line, result.progress)) or "nothing is published")


def _stop_text(progress: RolloutProgress) -> str:
    step = progress.step
    return f"{step.model} release {step.release.release.counter}: {step.decision.reason}; {change_text(step)}"
