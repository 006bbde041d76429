"""What every test may lean on: quiet libraries, one thread, and a small ingested data set."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.update(
    PREFECT_SERVER_ANALYTICS_ENABLED="false", MLFLOW_DISABLE_TELEMETRY="true", DVC_NO_ANALYTICS="1",
    DO_NOT_TRACK="true", MPLBACKEND="Agg",
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two tests at once with one thread each are faster than each with two, and runs are reproducible."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic data set, ingested: four classes, 16x16, learnable in seconds."""
    from nas_pipeline.data.ingest import ingest
    from nas_pipeline.data.sources import SOURCES

    folder = tmp_path_factory.mktemp("ingested")
    source = SOURCES.make("synthetic", {"train": 900, "test": 200, "classes": 4, "side": 16})
    ingest(source, folder, val=200, calib=60, limit=None, seed=0)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", place], check=True)
