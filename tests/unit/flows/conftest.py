"""Prefect away from the user's home, set before anything imports it; one server for the session's slow tests."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import environment
from tests.unit.flows.toy_workspace import write_workspace
from tests.unit.registry.toy_artifacts import write_artifacts

_HOME = Path(tempfile.mkdtemp(prefix="nas-prefect-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["PREFECT_HOME"] = str(_HOME / ".prefect")  # a worker inherits that of the process that started it
environment.prepare(_HOME)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace in which nothing has run."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_workspace(tmp_path)
    write_artifacts(tmp_path / "made")
    return tmp_path


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """URL of a server."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.server import EmbeddedServer

    server = EmbeddedServer(_HOME / ".prefect")
    server.wait()
    with temporary_settings({PREFECT_API_URL: server.url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield server.url
    server.stop()
