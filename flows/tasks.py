"""The pipeline's tasks. Each answers with a state: Completed, Cached, Refused or Failed; only Transient is retried."""

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
from nas_pipeline.errors import NasError, Refusal, Transient
from nas_pipeline.registry.publish import PublishedRun, publish
from nas_pipeline.registry.register import register
from nas_pipeline.registry.tags import provenance, run_key

logger = logging.getLogger(__name__)

CACHED, REFUSED = "Cached", "Refused"
"""Names of states: nothing had to be done; a gate said no."""


def is_transient(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Retry condition: the failure is marked as one that may pass."""
    return isinstance(getattr(state.data, "result", state.data), Transient)


def failed(error: NasError) -> State[Any]:
    """The failed state of an error: named `Refused` where a gate said no, holding the error."""
    name = REFUSED if isinstance(error, Refusal) else "Failed"
    return Failed(name=name, message=str(error), data=error)


@task(
    name="stage", task_run_name="{stage}", retries=2, retry_delay_seconds=[5.0, 30.0], retry_condition_fn=is_transient,
    persist_result=False, cache_policy=NO_CACHE,
)
def run_stage_task(root: str, stage: str) -> State[Any]:
    """Bring one stage up to date through DVC: run it, or restore it, or see that nothing changed (state Cached)."""
    folder = Path(root)
    try:
        if not changed_stages(folder, stage):
            return Completed(name=CACHED, message="nothing changed")
        with progress_shown(folder, stage):
            reproduce(folder, stage, logger.info)
    except NasError as error:
        return failed(error)
    return Completed(message="up to date")


@task(
    name="publish", task_run_name="publish", retries=2, retry_delay_seconds=[1.0, 3.0],
    retry_condition_fn=is_transient, persist_result=False, cache_policy=NO_CACHE,
)
def publish_task(root: str, targets: list[str]) -> State[Any]:
    """Replay the artefacts into MLflow; the state holds what `PublishedRun.to_json` gives, Cached if it was there."""
    folder = Path(root)
    context = FlowRunContext.get()
    flow_run_id = str(context.flow_run.id) if context and context.flow_run else None
    try:
        tags = provenance(folder, flow_run_id=flow_run_id)
        published = publish(folder, run_key=run_key(folder), tags=tags, targets=targets)
    except NasError as error:
        return failed(error)
    return Completed(name="Completed" if published.created else CACHED, data=published.to_json())


@task(
    name="register", task_run_name="register@{target}", retries=2, retry_delay_seconds=[1.0, 3.0],
    retry_condition_fn=is_transient, persist_result=False, cache_policy=NO_CACHE,
)
def register_task(root: str, target: str, published: dict[str, Any]) -> State[Any]:
    """Register one target; the state holds what `Registered.to_json` gives, or is Refused."""
    try:
        registered = register(Path(root), target, published=PublishedRun.from_json(published))
    except NasError as error:
        return failed(error)
    return Completed(name="Completed" if registered.created else CACHED, data=registered.to_json())
