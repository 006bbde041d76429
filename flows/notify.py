"""Word of a Refusal or a failure, through the notification blocks that a deployment names."""

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
    """See that each notification block can be loaded: a wrong name must not come out only when something is wrong.

    Raises:
        ConfigError: The server has no such block, or it does not notify.
    """
    for name in names:
        try:
            block = run_coro_as_sync(Block.aload(name))
        except ValueError as error:
            raise ConfigError(
                f"notify names the block {name!r}, which Prefect's server does not have: make it in the UI under "
                "Blocks (docs/scheduling.md), or correct the name, TYPE/NAME, in prefect.yaml"
            ) from error
        _notifying(name, block)


async def tell(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell every block in the run's parameter `notify`. A hook of the flow: what it meets changes no state."""
    subject = f"{flow.name} {flow_run.name}: {state.name}"
    body = f"{state.message or 'no message'}\n\nrun {flow_run.id}, parameters {flow_run.parameters}"
    for name in flow_run.parameters.get("notify") or []:
        try:
            await _notifying(name, await Block.aload(name)).notify(body, subject)
        except Exception:  # the run is over, and the next block may work
            logger.warning("block %s could not be told of %s", name, subject, exc_info=True)


def _notifying(name: str, block: Block) -> NotificationBlock:
    if not isinstance(block, NotificationBlock):
        raise ConfigError(f"notify names the block {name!r}, which cannot notify: it is a {type(block).__name__}")
    return block
