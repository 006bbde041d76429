"""Schedules on one machine: Prefect's server and, in this process, what starts the deployments of prefect.yaml.

`python -m flows.serve`. No work pool and no worker: those are for a server (docs/scheduling.md).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import automations, environment
from flows.child import running
from flows.ports import HOST, see_that_it_is_free
from flows.worktree import repository
from nas_pipeline.config.params import read_yaml
from nas_pipeline.errors import ConfigError, NasError

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment

logger = logging.getLogger("flows.serve")  # also where this module is __main__

FILE = "prefect.yaml"
_STARTUP_TIMEOUT_S = 120
_STOPPED = "stopped; schedules are paused until the next `make serve`"
_AT_ONCE = 8
"""Pipelines take turns by themselves (flows/lock.py); a roll-out must not wait hours for one: it may be a stop."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; exit status 2 where something about the set-up is wrong."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description="Run the schedules of prefect.yaml.")
    parser.add_argument("--port", type=int, default=4200, help="of Prefect's server and its pages")
    options = parser.parse_args(arguments)
    environment.log_to_terminal()
    try:
        root = repository(Path())
        environment.prepare(root)
        os.environ.setdefault("NAS_REPO", str(root))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        with _server(root, options.port) as url:
            os.environ["PREFECT_API_URL"] = url
            _serve(root)
        logger.info(_STOPPED)
    except NasError as error:
        logger.error("error: %s", error)
        return error.exit_code
    except KeyboardInterrupt:
        logger.info(_STOPPED)
    return 0


def deployments(file: Path) -> list[RunnerDeployment]:
    """The deployments of prefect.yaml, as `serve` takes them.

    Raises:
        ConfigError: The file is missing or broken, or a deployment has a key that it cannot have.
    """
    found = read_yaml(file)
    rows = found.get("deployments") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"{file} has no deployments: give at least one, as docs/scheduling.md shows")
    return [_deployment(file, row) for row in rows]


def _deployment(file: Path, row: dict[str, Any]) -> RunnerDeployment:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    try:
        flow, limit, options = _flow(row["entrypoint"]), row["concurrency_limit"], row.get("parameters") or {}
        return RunnerDeployment.from_flow(
            flow, name=row["name"], description=row.get("description"), parameters=options,
            tags=row.get("tags") or [],
            schedules=[Cron(each["cron"], timezone=each.get("timezone", "UTC")) for each in row["schedules"]],
            concurrency_limit=ConcurrencyLimitConfig(**limit), entrypoint_type=EntrypointType.MODULE_PATH,
        )
    except (KeyError, TypeError, ValueError) as error:
        name = row.get("name", "?") if isinstance(row, dict) else row
        raise ConfigError(f"{file}: deployment {name!r} cannot be read: {type(error).__name__}: {error}; "
                          "docs/scheduling.md lists what it has") from error


def _flow(entrypoint: str) -> Flow[..., Any]:
    """The flow that `PACKAGE.MODULE.FLOW` names.

    Raises:
        ValueError: It names none.
    """
    from prefect.exceptions import MissingFlowError
    from prefect.flows import load_flow_from_entrypoint

    if not re.fullmatch(r"[a-z_0-9]+(\.[a-z_0-9]+)+", str(entrypoint)):
        raise ValueError(f"entrypoint {entrypoint!r} is not PACKAGE.MODULE.FLOW, as flows.scheduled.scheduled")
    try:
        return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    except (ImportError, MissingFlowError) as error:
        raise ValueError(f"entrypoint {entrypoint!r} names no flow: {error}") from error


def _serve(root: Path) -> None:
    from prefect import serve

    found = deployments(root / FILE)
    for deployment in found:
        times = [getattr(each.schedule, "cron", "") for each in deployment.schedules or []]
        logger.info("%s: %s", deployment.name, ", ".join(times))
    for deployment in found:
        if deployment.full_name == automations.RETRAINING:
            deployment.apply()  # the automation needs its number; `serve` finds it again by its name
            logger.info("%s: %s", automations.NAME, automations.ensure())
    logger.info("pages: %s; Ctrl-C ends", os.environ["PREFECT_API_URL"].removesuffix("/api"))
    serve(*found, limit=_AT_ONCE, print_starting_message=False)


@contextlib.contextmanager
def _server(root: Path, port: int) -> Iterator[str]:
    """URL of the server that PREFECT_API_URL names, or of one that lives as long as the block."""
    if given := os.environ.get("PREFECT_API_URL"):
        yield given
        return
    see_that_it_is_free(
        port, "Prefect's server", "`make serve PORT=4201` takes another; if a Prefect server is there already, "
        f"`PREFECT_API_URL=http://{HOST}:{port}/api make serve` uses it"
    )
    log = root / ".prefect" / "serve.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    shell = f'exec "$0" -m prefect server start --host {HOST} --port {port} >>"$1" 2>&1'
    with running(
        ["bash", "-c", shell, sys.executable, str(log)], root,
        {"PREFECT_UI_ENABLED": "true", "PREFECT_SERVER_UI_ENABLED": "true"},
    ) as child:
        url, end = f"http://{HOST}:{port}/api", time.monotonic() + _STARTUP_TIMEOUT_S
        while not _answers(url):
            if child.poll() is not None or time.monotonic() > end:
                raise NasError(f"Prefect's server did not start: see {log}")
            time.sleep(0.5)
        yield url


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    raise SystemExit(main())
