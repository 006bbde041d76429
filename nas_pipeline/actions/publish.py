"""Publishes the artefacts of a pipeline run to MLflow."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from nas_pipeline.errors import NasError
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.publish import PublishedRun, attach_file, publish
from nas_pipeline.registry.tags import provenance, run_key, source_tags


def publish_run(root: Path, targets: Sequence[str], *, flow_run_id: str | None = None) -> PublishedRun:
    """Replays the artefacts of the workspace `root` into MLflow. A run that is published already is not duplicated.

    Args:
        root: The workspace.
        targets: Names of the targets to publish.
        flow_run_id: Id of the Prefect flow run, stored as a tag.

    Raises:
        RegistryError: An artefact is missing, or MLflow rejects the data.
        TrackingUnavailable: MLflow does not respond.
    """
    tags = provenance(root, flow_run_id=flow_run_id)
    return publish(root, run_key=run_key(root), tags=tags, targets=targets)


def source_state(root: Path) -> dict[str, str]:
    """Returns the commit of the code at `root` and whether tracked files differ from it; see `registry.tags`."""
    return source_tags(root)


def attach_report(root: Path, run_id: str, page: Path) -> None:
    """Logs the report page `page` to the MLflow run `run_id`.

    Raises:
        RegistryError: There is no such run.
        TrackingUnavailable: MLflow does not respond.
    """
    attach_file(root, run_id, page, "report")


def warm_up_tracking(root: Path) -> None:
    """Loads MLflow's database code, and creates the local database if it is missing.

    Errors are ignored here: `publish_run` raises them.
    """
    with contextlib.suppress(NasError), tracking(root):
        pass
