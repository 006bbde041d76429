"""A client for the tracking server, or for local files; a server that is down is known within seconds."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from nas_pipeline.errors import RegistryError, TrackingUnavailable
from nas_pipeline.registry import door

_CONNECT_TIMEOUT_S = 3.0
_SQLITE = "sqlite:///"
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_TRY_LATER = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED", "ABORTED"}

_NOT_LOST = "nothing is lost: `nas publish`, or the next run of the pipeline, publishes what is missing"


def tracking_uri(root: Path, given: str | None = None) -> str:
    """`given`, else MLFLOW_TRACKING_URI, else an SQLite file in `root`."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{root.resolve() / 'mlflow.db'}"


def artifact_location(uri: str, experiment: str) -> str | None:
    """Where a new experiment's files go: mlruns/ beside an SQLite file, else where the server decides (None)."""
    if not uri.startswith(_SQLITE):
        return None
    beside = Path(uri.removeprefix(_SQLITE)).resolve().parent
    return (beside / "mlruns" / experiment.replace("/", "-")).as_uri()


@contextlib.contextmanager
def tracking(root: Path, given: str | None = None) -> Iterator[MlflowClient]:
    """A client for the tracking URI; inside the block MLflow's errors come out as those of the house.

    Raises:
        TrackingUnavailable: Nobody answers, or the answer is a server's error: the same may succeed later.
        RegistryError: MLflow refuses what was asked.
    """
    uri = tracking_uri(root, given)
    _see_that_it_answers(uri)
    try:
        with door.quiet():
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            yield client
    except MlflowException as error:
        if error.error_code not in _TRY_LATER:
            raise RegistryError(f"MLflow at {_without_password(uri)}: {error.message}") from error
        raise TrackingUnavailable(f"MLflow at {_without_password(uri)}: {error.message}; {_NOT_LOST}") from error
    except (ConnectionError, TimeoutError) as error:
        raise TrackingUnavailable(
            f"MLflow at {_without_password(uri)} stopped answering: {error}; {_NOT_LOST}"
        ) from error


def _see_that_it_answers(uri: str) -> None:
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if not parts.hostname or port is None:
        return  # a file
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise TrackingUnavailable(
            f"MLflow at {_without_password(uri)} does not answer ({error}): start it, or unset MLFLOW_TRACKING_URI "
            f"to keep runs in local files; {_NOT_LOST}"
        ) from error


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return uri.replace(f":{parts.password}@", ":***@", 1)
