"""Adds a file to a run that is there already: the page of a run is written when its registration has an outcome."""

from __future__ import annotations

from pathlib import Path

from nas_pipeline.registry.connection import tracking


def attach(root: Path, run_id: str, file: Path, folder: str) -> None:
    """Log `file` under `folder` of the run; one of the same name is replaced.

    Raises:
        TrackingUnavailable: MLflow does not answer.
        RegistryError: There is no such run.
    """
    with tracking(root) as client:
        client.log_artifact(run_id, str(file), folder)
