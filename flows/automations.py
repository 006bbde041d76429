"""The automation that starts a retraining when a model's images have drifted; made once, by name.

`make serve` makes it on one machine; on a server, after `prefect deploy --all`, `python -m flows.automations` does.
One that was paused stays paused.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from flows import environment
from nas_pipeline.errors import ConfigError, NasError

logger = logging.getLogger("flows.automations")  # also where this module is __main__

NAME = "drift starts a retraining"
CROSSED = "nas.drift.crossed"
"""Event of flows/drift.py."""
MODEL = "nas.model."
"""Beginning of the id of the event's resource; the name of the model follows."""
RETRAINING = "scheduled/weekly"
"""FLOW/DEPLOYMENT that is started."""
_AT_MOST_EVERY = timedelta(days=7)
"""However many models drift in that time, it is one retraining."""


def ensure(deployment: str = RETRAINING) -> str:
    """Make the automation, or bring it up to date; returns made, changed or kept.

    Raises:
        ConfigError: The server has no such deployment.
    """
    from prefect.automations import AutomationCore, EventTrigger, Posture
    from prefect.client.orchestration import get_client
    from prefect.events.actions import RunDeployment
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            target = client.read_deployment_by_name(deployment)
        except (ObjectNotFound, ValueError) as error:
            raise ConfigError(
                f"Prefect's server has no deployment {deployment!r}: `prefect deploy --all` makes those of prefect.yaml"
            ) from error
        wanted = AutomationCore(
            name=NAME,
            description=f"{CROSSED} (flows/drift.py) starts {deployment}, at most once in seven days. docs/drift.md",
            trigger=EventTrigger(
                expect={CROSSED}, match={"prefect.resource.id": f"{MODEL}*"}, posture=Posture.Reactive, threshold=1,
                within=_AT_MOST_EVERY,
            ),
            actions=[RunDeployment(source="selected", deployment_id=target.id, parameters=None, job_variables=None)],
        )
        found = sorted(client.read_automations_by_name(NAME), key=lambda each: str(each.id))
        for surplus in found[1:]:  # two servers were started at once
            client.delete_automation(surplus.id)
        if not found:
            client.create_automation(wanted)
            return "made"
        wanted.enabled = found[0].enabled
        if _says(found[0]) == _says(wanted):
            return "kept"
        client.update_automation(found[0].id, wanted)
        return "changed"


def _says(automation: object) -> object:
    """What of an automation is ours, without the numbers that the server gives its parts."""
    from prefect.automations import AutomationCore

    assert isinstance(automation, AutomationCore)
    return (automation.description, automation.trigger.model_dump(mode="json", exclude={"id"}),
            [each.model_dump(mode="json") for each in automation.actions])


def main(arguments: Sequence[str] | None = None) -> int:
    """Make it on the server that PREFECT_API_URL names; exit status 2 where none is named."""
    parser = argparse.ArgumentParser(prog="python -m flows.automations", description="Make the automations.")
    parser.add_argument("--deployment", default=RETRAINING, help="FLOW/DEPLOYMENT that drift starts")
    options = parser.parse_args(arguments)
    environment.log_to_terminal()
    environment.prepare(Path())
    try:
        if not os.environ.get("PREFECT_API_URL"):
            raise ConfigError("PREFECT_API_URL names no server: export PREFECT_API_URL=http://SERVER:4200/api first")
        logger.info("%s: %s", NAME, ensure(options.deployment))
    except NasError as error:
        logger.error("error: %s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
