"""The page of a run, written when everything else is done. That it fails is a warning: the run has its result."""

from __future__ import annotations

import logging

from flows.outcome import Outcome
from nas_pipeline.actions.report import write_report
from nas_pipeline.errors import NasError
from nas_pipeline.registry.publish import attach_file

logger = logging.getLogger(__name__)


def write_and_attach(outcome: Outcome) -> None:
    """Write reports/index.html in the workspace and log it to the published run, if there is one."""
    try:
        page = write_report(outcome.root)
        logger.info("report: %s", page)
        if outcome.published is not None:
            attach_file(outcome.root, outcome.published["run_id"], page, "report")
    except (NasError, OSError) as error:
        logger.warning("report: %s", error)
