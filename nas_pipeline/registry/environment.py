"""Prepares the import of MLflow: checks the package, and sets its timeouts, its log levels and its pickle policy."""

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
    # MLflow's defaults are 7 retries and 120 s: with a server that is down, the pipeline would wait for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_VERBOSE_LOGGERS = ("alembic", "mlflow.store.db.utils")
"""Loggers that write a line for every table they create."""

FindSpec = Callable[[str], ModuleSpec | None]
"""Finds the specification of a module by its name, as `importlib.util.find_spec` does."""


def set_environment() -> None:
    """Sets the environment variables that MLflow reads; variables that are already set keep their value."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def check_mlflow_installed(find_spec: FindSpec = importlib.util.find_spec) -> None:
    """Checks that `mlflow` is the installed package and not the repository's folder of that name.

    Raises:
        ImportError: The package is not installed.
    """
    spec = find_spec("mlflow")
    if spec is None or spec.origin is None:
        raise ImportError(
            "mlflow is not installed (the repository's folder mlflow/ is not the package): pip install mlflow"
        )


@contextlib.contextmanager
def suppress_database_messages() -> Iterator[None]:
    """Suppresses the deprecation warnings and table messages of MLflow's database code inside the block."""
    for name in _VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Deprecations of SQLAlchemy, pydantic and pyparsing inside MLflow cannot be fixed here.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.filterwarnings("ignore", message=".*noload.*")
        yield
