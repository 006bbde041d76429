"""Runs the deployments of prefect.yaml on one machine: Prefect's server and the scheduler. `python -m flows.serve`.

It needs no work pool and no worker; docs/scheduling.md describes the set-up with a server.
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
from flows.ports import HOST, check_port_is_free
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
"""Limit of concurrent runs. Pipelines are serialised by a lock (flows/lock.py); a roll-out must not wait for them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until Ctrl-C. Returns exit status 2 if the set-up is wrong."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description="Run the schedules of prefect.yaml.")
    parser.add_argument("--port", type=int, default=4200, help="port of Prefect's server and its UI")
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
    """Returns the deployments in prefect.yaml for `prefect.serve`.

    Raises:
        ConfigError: The file is missing or not valid YAML, or a deployment is not valid.
    """
    content = read_yaml(file)
    rows = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"{file} has no deployments: add at least one; docs/scheduling.md describes them")
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
            schedules=[Cron(item["cron"], timezone=item.get("timezone", "UTC")) for item in row["schedules"]],
            concurrency_limit=ConcurrencyLimitConfig(**limit), entrypoint_type=EntrypointType.MODULE_PATH,
        )
    except (KeyError, TypeError, ValueError) as error:
        name = row.get("name", "?") if isinstance(row, dict) else row
        raise ConfigError(f"{file}: deployment {name!r} cannot be read: {type(error).__name__}: {error}; "
                          "docs/scheduling.md lists the keys") from error


def _flow(entrypoint: str) -> Flow[..., Any]:
    """Returns the flow with the name `PACKAGE.MODULE.FLOW`.

    Raises:
        ValueError: There is no such flow.
    """
    from prefect.exceptions import MissingFlowError
    from prefect.flows import load_flow_from_entrypoint

    if not re.fullmatch(r"[a-z_0-9]+(\.[a-z_0-9]+)+", str(entrypoint)):
        raise ValueError(f"entrypoint {entrypoint!r} is not PACKAGE.MODULE.FLOW, for example flows.scheduled.scheduled")
    try:
        return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    except (ImportError, MissingFlowError) as error:
        raise ValueError(f"entrypoint {entrypoint!r} names no flow: {error}") from error


def _serve(root: Path) -> None:
    from prefect import serve

    served = deployments(root / FILE)
    for deployment in served:
        times = [getattr(item.schedule, "cron", "") for item in deployment.schedules or []]
        logger.info("%s: %s", deployment.name, ", ".join(times))
    for deployment in served:
        if deployment.full_name == automations.RETRAINING:
            deployment.apply()  # the automation needs its id; `serve` updates it by its name
            logger.info("%s: %s", automations.NAME, automations.ensure_automation())
    logger.info("UI: %s; stop with Ctrl-C", os.environ["PREFECT_API_URL"].removesuffix("/api"))
    serve(*served, limit=_AT_ONCE, print_starting_message=False)


@contextlib.contextmanager
def _server(root: Path, port: int) -> Iterator[str]:
    """Yields the URL of the server in PREFECT_API_URL, or of a server that runs during the block."""
    if configured := os.environ.get("PREFECT_API_URL"):
        yield configured
        return
    check_port_is_free(
        port, "Prefect's server", "`make serve PORT=4201` uses another port; if it is a Prefect server, "
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
        while not _is_healthy(url):
            if child.poll() is not None or time.monotonic() > end:
                raise NasError(f"Prefect's server did not start: see {log}")
            time.sleep(0.5)
        yield url


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    raise SystemExit(main())
