"""Every quarter of an hour: takes reports, and widens, stops or waits. A roll-out that is stopped is a Refusal."""

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
from nas_pipeline.actions.devices import Progress, collect_now, on_evaluation, page_line, told
from nas_pipeline.actions.fleet import has_fleet
from nas_pipeline.errors import NasError, RolloutRefusal
from nas_pipeline.fleet.rollout.state_machine import Stop

logger = logging.getLogger(__name__)

WHO = "flow rollout"


@flow(
    name="rollout", persist_result=False, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert],
)
def rollout(notify: list[str] | None = None, repo: str | None = None) -> State[Any]:
    """One step of every roll-out.

    Args:
        notify: Notification blocks, `TYPE/NAME`, that are told when a roll-out is stopped, or this fails.
        repo: The repository; default: NAS_REPO, else where the process runs.
    """
    try:
        check_blocks(notify or [])
        root = repository(Path(repo or os.environ.get("NAS_REPO") or "."))
        return run(root) if has_fleet(root) else Completed(message=NO_FLEET)
    except NasError as error:
        return failed_state(error)


def run(root: Path) -> State[Any]:
    """Collect, decide, sign, show. What the registry cannot show yet does not hold a roll-out up.

    Raises:
        NasError: Nothing can be read or signed.
    """
    taken = collect_now(root, None)
    if taken is not None:
        logger.info("%d reports taken, %d put aside", taken.taken, len(taken.aside))
    done = on_evaluation(root, who=WHO)
    for progress in done:
        logger.info("%s", told(progress))
    logger.info("%s", page_line(root))
    create_markdown_artifact("\n".join(["# Roll-outs", "", *(f"- {told(each)}" for each in done)]), key="rollout")
    stopped = [each for each in done if isinstance(each.step.decision, Stop)]
    if stopped:
        message = " | ".join(map(_said, stopped))
        return Failed(name=REFUSED, message=message, data=RolloutRefusal(message))
    return Completed(message="; ".join(map(told, done)) or "nothing is published")


def _said(progress: Progress) -> str:
    step = progress.step
    way = step.done or "nothing was signed: a person has to look (docs/rollout.md)"
    return f"{step.model} release {step.release.release.counter}: {step.decision.reason}; {way}"
