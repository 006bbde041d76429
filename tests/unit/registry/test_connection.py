"""The MLflow package check, a server that is down, and passwords in messages."""

from __future__ import annotations

import contextlib
import socket
import time
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from nas_pipeline.errors import RegistryError, TrackingUnavailable
from nas_pipeline.registry import environment
from nas_pipeline.registry.connection import artifact_location, tracking, tracking_uri


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg"])
def test_a_server_that_is_down_is_reported_at_once(tmp_path: Path, closed_port: int, scheme: str) -> None:
    begun = time.monotonic()
    with (
        pytest.raises(TrackingUnavailable, match="does not respond") as caught,
        tracking(tmp_path, f"{scheme}://user:secret@127.0.0.1:{closed_port}"),
    ):
        pass
    assert time.monotonic() - begun < 5
    assert "secret" not in str(caught.value)


def test_a_server_that_dies_later_is_transient(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.ExitStack() as stack:
            stack.enter_context(pytest.raises(TrackingUnavailable))
            client = stack.enter_context(tracking(tmp_path, uri))
            listener.close()
            client.search_experiments()


@pytest.mark.parametrize(
    ("code", "kind"), [("INVALID_PARAMETER_VALUE", RegistryError), ("TEMPORARILY_UNAVAILABLE", TrackingUnavailable)]
)
def test_mlflow_errors_are_converted(store: str, tmp_path: Path, code: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught, tracking(tmp_path, store):
        raise MlflowException("no", error_code=getattr(_codes(), code))
    assert type(caught.value) is kind


def _codes() -> object:
    from mlflow.protos import databricks_pb2

    return databricks_pb2


def test_local_files_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri(tmp_path) == "http://tracking:5000"
    assert tracking_uri(tmp_path, "sqlite:///x.db") == "sqlite:///x.db"
    assert artifact_location("http://tracking:5000", "nas/x") is None
    assert artifact_location(f"sqlite:///{tmp_path}/x.db", "nas/x") == f"file://{tmp_path}/mlruns/nas-x"


@pytest.mark.parametrize("spec", [None, ModuleSpec("mlflow", loader=None, origin=None)])
def test_the_folder_of_that_name_is_not_the_package(spec: ModuleSpec | None) -> None:
    with pytest.raises(ImportError, match="not installed"):
        environment.check_mlflow_installed(lambda name: spec)
