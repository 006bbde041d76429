"""The Prefect automation that starts a retraining when the images of a model have drifted.

`make serve` creates it on one machine; on a server, run `python -m flows.automations` after `prefect deploy --all`.
A paused automation remains paused.
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
"""Name of the event that flows/drift.py sends."""
MODEL = "nas.model."
"""Prefix of the id of the event's resource; the name of the model follows."""
RETRAINING = "scheduled/weekly"
"""FLOW/DEPLOYMENT that the automation starts."""
_MIN_INTERVAL = timedelta(days=7)
"""Minimum time between two retrainings, however many models drift."""


def ensure_automation(deployment: str = RETRAINING) -> str:
    """Creates or updates the automation. Returns `created`, `changed` or `unchanged`.

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
                f"Prefect's server has no deployment {deployment!r}: `prefect deploy --all` creates it"
            ) from error
        wanted = AutomationCore(
            name=NAME,
            description=f"{CROSSED} (flows/drift.py) starts {deployment}, at most once in seven days. docs/drift.md",
            trigger=EventTrigger(
                expect={CROSSED}, match={"prefect.resource.id": f"{MODEL}*"}, posture=Posture.Reactive, threshold=1,
                within=_MIN_INTERVAL,
            ),
            actions=[RunDeployment(source="selected", deployment_id=target.id, parameters=None, job_variables=None)],
        )
        existing = sorted(client.read_automations_by_name(NAME), key=lambda automation: str(automation.id))
        for duplicate in existing[1:]:  # two servers were started at the same time
            client.delete_automation(duplicate.id)
        if not existing:
            client.create_automation(wanted)
            return "created"
        wanted.enabled = existing[0].enabled
        if _definition(existing[0]) == _definition(wanted):
            return "unchanged"
        client.update_automation(existing[0].id, wanted)
        return "changed"


def _definition(automation: object) -> object:
    """Returns the definition of an automation without the ids that the server assigns."""
    from prefect.automations import AutomationCore

    assert isinstance(automation, AutomationCore)
    return (automation.description, automation.trigger.model_dump(mode="json", exclude={"id"}),
            [action.model_dump(mode="json") for action in automation.actions])


def main(arguments: Sequence[str] | None = None) -> int:
    """Creates the automation on the server in PREFECT_API_URL. Returns exit status 2 if it is not set."""
    parser = argparse.ArgumentParser(prog="python -m flows.automations", description="Create the automation for drift.")
    parser.add_argument("--deployment", default=RETRAINING, help="FLOW/DEPLOYMENT that drift starts")
    options = parser.parse_args(arguments)
    environment.log_to_terminal()
    environment.prepare(Path())
    try:
        if not os.environ.get("PREFECT_API_URL"):
            raise ConfigError("PREFECT_API_URL is not set: export PREFECT_API_URL=http://SERVER:4200/api first")
        logger.info("%s: %s", NAME, ensure_automation(options.deployment))
    except NasError as error:
        logger.error("error: %s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
