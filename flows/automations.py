"""What Prefect's server does by itself: drift starts a retraining. No process of ours has to run for it.

`make serve` sets it up; on a server, `python -m flows.automations` does.
"""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.events import AutomationCore, EventTrigger, RunDeployment
from prefect.events.schemas.automations import Posture
from prefect.exceptions import ObjectNotFound

from flows.drift import EVENT
from flows.launch import log_to_terminal
from nas_pipeline.errors import ConfigError, NasError

logger = logging.getLogger("flows.automations")  # also where this module is __main__

NAME = "nas: drift starts a retraining"
DEPLOYMENT = "scheduled/weekly"
_ONCE_IN = timedelta(days=7)
"""Drift is told every day until the retrained model is on the devices; one retraining is enough."""


def retrain_on_drift(deployment: str = DEPLOYMENT, *, once_in: timedelta = _ONCE_IN) -> UUID:
    """Make, or bring up to date, the automation on the server that PREFECT_API_URL names; its id.

    Calling it again changes nothing, and a user's switch to off stays.

    Raises:
        ConfigError: The server has no such deployment.
    """
    return asyncio.run(_set_up(deployment, once_in))


async def _set_up(deployment: str, once_in: timedelta) -> UUID:
    async with get_client() as client:
        try:
            found = await client.read_deployment_by_name(deployment)
        except ObjectNotFound as error:
            raise ConfigError(f"Prefect's server has no deployment {deployment!r}: `make serve` or "
                              "`prefect deploy --all` makes it; then give the command again") from error
        before = await client.read_automations_by_name(NAME)
        wanted = AutomationCore(
            name=NAME, enabled=all(each.enabled for each in before),
            description="The devices see other images than the network was trained for: docs/drift.md",
            # All in words, the types too: an update sends only what was set.
            trigger=EventTrigger(
                type="event", posture=Posture.Reactive, expect={EVENT}, threshold=1, within=once_in,
                for_each={"prefect.resource.id"},
            ),
            actions=[RunDeployment(
                type="run-deployment", source="selected", deployment_id=found.id, parameters=None, job_variables=None,
            )],
        )
        if not before:
            return await client.create_automation(wanted)
        await client.update_automation(before[0].id, wanted)
        for extra in before[1:]:
            await client.delete_automation(extra.id)
        return before[0].id


def main() -> int:
    """Set up the automation; exit status 2 without a server."""
    log_to_terminal()
    try:
        if not os.environ.get("PREFECT_API_URL"):
            raise ConfigError("PREFECT_API_URL names no server: export it, as docs/scheduling.md shows")
        logger.info("%s: %s", NAME, retrain_on_drift())
    except NasError as error:
        logger.error("error: %s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
