"""The tasks of the pipeline flow. Each returns a state: Completed, Cached, Refused or Failed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed

from flows.dvc import changed_stages, reproduce
from flows.watch import progress_shown
from nas_pipeline.actions.publish import publish_run
from nas_pipeline.actions.register import register_target
from nas_pipeline.errors import NasError, Refusal, Transient

logger = logging.getLogger(__name__)

CACHED, REFUSED = "Cached", "Refused"
"""Names of states: nothing was stale; a gate is red."""


def is_transient(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Returns whether a failed task run is retried: only if its error is Transient."""
    return isinstance(getattr(state.data, "result", state.data), Transient)


def failed_state(error: NasError) -> State[Any]:
    """Returns the failed state that contains `error`. Its name is `Refused` if a gate is red."""
    name = REFUSED if isinstance(error, Refusal) else "Failed"
    return Failed(name=name, message=str(error), data=error)


@task(
    name="stage", task_run_name="{stage}", retries=2, retry_delay_seconds=[5.0, 30.0], retry_condition_fn=is_transient,
    persist_result=False, cache_policy=NO_CACHE,
)
def run_stage_task(root: str, stage: str) -> State[Any]:
    """Brings one stage up to date through DVC: runs or restores it. The state is Cached if nothing changed."""
    folder = Path(root)
    try:
        if not changed_stages(folder, stage):
            return Completed(name=CACHED, message="nothing changed")
        with progress_shown(folder, stage):
            reproduce(folder, stage, logger.info)
    except NasError as error:
        return failed_state(error)
    return Completed(message="up to date")


@task(
    name="publish", task_run_name="publish", retries=2, retry_delay_seconds=[1.0, 3.0],
    retry_condition_fn=is_transient, persist_result=False, cache_policy=NO_CACHE,
)
def publish_task(root: str, targets: list[str]) -> State[Any]:
    """Publishes the artefacts to MLflow. The state contains `PublishedRun.to_json()`; Cached if the run exists."""
    context = FlowRunContext.get()
    flow_run_id = str(context.flow_run.id) if context and context.flow_run else None
    try:
        published = publish_run(Path(root), targets, flow_run_id=flow_run_id)
    except NasError as error:
        return failed_state(error)
    return Completed(name="Completed" if published.created else CACHED, data=published.to_json())


@task(
    name="register", task_run_name="register@{target}", retries=2, retry_delay_seconds=[1.0, 3.0],
    retry_condition_fn=is_transient, persist_result=False, cache_policy=NO_CACHE,
)
def register_task(root: str, target: str, published: dict[str, Any]) -> State[Any]:
    """Registers one target. The state contains `Registered.to_json()`, or is Refused."""
    try:
        registered = register_target(Path(root), target, published)
    except NasError as error:
        return failed_state(error)
    return Completed(name="Completed" if registered.created else CACHED, data=registered.to_json())
