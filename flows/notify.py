"""Notifications of refusals and failures, through the Prefect blocks that a deployment names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from prefect import Flow
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.asyncutils import run_coro_as_sync

from nas_pipeline.errors import ConfigError

logger = logging.getLogger(__name__)


def check_blocks(names: Sequence[str]) -> None:
    """Checks that each notification block can be loaded, so that a wrong name is reported at the start of a run.

    Raises:
        ConfigError: The server has no such block, or the block cannot send notifications.
    """
    for name in names:
        try:
            block = run_coro_as_sync(Block.aload(name))
        except ValueError as error:
            raise ConfigError(
                f"notify names the block {name!r}, which Prefect's server does not have: create it in the UI under "
                "Blocks (docs/scheduling.md), or correct the name, TYPE/NAME, in prefect.yaml"
            ) from error
        _check_notification(name, block)


async def alert(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Notifies every block in the run's parameter `notify`. A flow hook: its errors are logged and change no state."""
    subject = f"{flow.name} {flow_run.name}: {state.name}"
    body = f"{state.message or 'no message'}\n\nrun {flow_run.id}, parameters {flow_run.parameters}"
    for name in flow_run.parameters.get("notify") or []:
        try:
            await _check_notification(name, await Block.aload(name)).notify(body, subject)
        except Exception:  # the run has ended, and the next block may work
            logger.warning("block %s could not be notified of %s", name, subject, exc_info=True)


def _check_notification(name: str, block: Block) -> NotificationBlock:
    if not isinstance(block, NotificationBlock):
        kind = type(block).__name__
        raise ConfigError(f"notify names the block {name!r}, which cannot send notifications: it is a {kind}")
    return block
