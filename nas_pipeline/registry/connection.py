"""Creates MLflow clients for a tracking server or for local files; an unreachable server is reported within seconds."""

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
from nas_pipeline.registry import environment

_CONNECT_TIMEOUT_S = 3.0
_SQLITE = "sqlite:///"
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_TRY_LATER = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED", "ABORTED"}

_NOT_LOST = "nothing is lost: `nas publish`, or the next run of the pipeline, publishes what is missing"


def tracking_uri(root: Path, uri: str | None = None) -> str:
    """Returns `uri` if it is set, else MLFLOW_TRACKING_URI, else the URI of an SQLite file in `root`."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{root.resolve() / 'mlflow.db'}"


def artifact_location(uri: str, experiment: str) -> str | None:
    """Returns the URI for the files of a new experiment: mlruns/ beside an SQLite file; None lets the server decide."""
    if not uri.startswith(_SQLITE):
        return None
    folder = Path(uri.removeprefix(_SQLITE)).resolve().parent
    return (folder / "mlruns" / experiment.replace("/", "-")).as_uri()


@contextlib.contextmanager
def tracking(root: Path, uri: str | None = None) -> Iterator[MlflowClient]:
    """Yields a client for the tracking URI and converts MLflow's errors to those of `nas_pipeline.errors`.

    Raises:
        TrackingUnavailable: The server cannot be reached, or responds with a server error: a later call may succeed.
        RegistryError: MLflow rejects the request.
    """
    uri = tracking_uri(root, uri)
    _check_reachable(uri)
    try:
        with environment.suppress_database_messages():
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            yield client
    except MlflowException as error:
        if error.error_code not in _TRY_LATER:
            raise RegistryError(f"MLflow at {_without_password(uri)}: {error.message}") from error
        raise TrackingUnavailable(f"MLflow at {_without_password(uri)}: {error.message}; {_NOT_LOST}") from error
    except (ConnectionError, TimeoutError) as error:
        raise TrackingUnavailable(
            f"MLflow at {_without_password(uri)} stopped responding: {error}; {_NOT_LOST}"
        ) from error


def _check_reachable(uri: str) -> None:
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if not parts.hostname or port is None:
        return  # a local file
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise TrackingUnavailable(
            f"MLflow at {_without_password(uri)} does not respond ({error}): start it, or unset MLFLOW_TRACKING_URI "
            f"to keep runs in local files; {_NOT_LOST}"
        ) from error


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return uri.replace(f":{parts.password}@", ":***@", 1)
