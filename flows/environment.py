"""Sets what Prefect, DVC and MLflow read from the environment; called before they are imported, imports none."""

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
"""Nothing phones home, whatever the user's environment says."""

_DEFAULTS = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # its lines per task and state, refusals among the errors: ours are shorter
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows",  # our lines go to the server too
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_CLI_COLORS": "false",
}


def prepare(root: Path) -> None:
    """Make this process and its children run in `root`, quietly; what the user has set stays, telemetry excepted."""
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


def with_our_commands(environment: dict[str, str]) -> dict[str, str]:
    """`environment` in which `nas` is that of the running interpreter, activated or not."""
    scripts = str(Path(sys.executable).parent)
    return {**environment, "PATH": os.pathsep.join([scripts, environment.get("PATH", os.defpath)])}
