"""What must be so before `import mlflow`: it is the package, it keeps quiet, gives up early and never unpickles."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own are 7 retries and 120 s: a server that is down would hold the pipeline for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_CHATTY = ("alembic", "mlflow.store.db.utils")
"""Loggers that tell of every table they make."""


def set_environment() -> None:
    """Set what MLflow reads from the environment; what the user has set stays."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def check(find: Callable[[str], ModuleSpec | None] = importlib.util.find_spec) -> None:
    """See that `mlflow` is the installed package and not the folder of that name.

    Raises:
        ImportError: It is not installed.
    """
    spec = find("mlflow")
    if spec is None or spec.origin is None:
        raise ImportError("mlflow is not installed; the repository's folder mlflow/ is not it: pip install mlflow")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A block in which MLflow may load its database code: its deprecations and its table-making stay unsaid."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # SQLAlchemy's, pydantic's and pyparsing's deprecations inside MLflow are its makers' business.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.filterwarnings("ignore", message=".*noload.*")
        yield
