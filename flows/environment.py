"""Environment variables and log output of the flows, set before Prefect, DVC and MLflow are imported."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

_SILENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Disables telemetry, whatever the user's environment contains."""

_DEFAULTS = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # Prefect's lines per task and state; ours are shorter
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows",  # our lines are sent to the server too
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_CLI_COLORS": "false",
}


def prepare(root: Path) -> None:
    """Sets environment variables for a run in `root`. Except for telemetry, the user's settings take precedence."""
    os.environ.update(_SILENT)
    for name, value in {**_DEFAULTS, "PREFECT_HOME": str(root.resolve() / ".prefect")}.items():
        os.environ.setdefault(name, value)


def log_to_terminal() -> None:
    """Writes the log lines of the package `flows`, and no others, to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("flows")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False


def with_interpreter_scripts(environment: dict[str, str]) -> dict[str, str]:
    """Returns `environment` with the scripts of the running interpreter, such as `nas`, first in PATH."""
    scripts = str(Path(sys.executable).parent)
    return {**environment, "PATH": os.pathsep.join([scripts, environment.get("PATH", os.defpath)])}
