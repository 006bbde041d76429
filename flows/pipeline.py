"""Entry point `python -m flows.pipeline`: runs the pipeline flow once in this process.

Prefect is imported late: it reads its environment on import, and its server starts meanwhile.
"""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import child, environment
from flows.lock import workspace_lock
from flows.server import EmbeddedServer
from nas_pipeline.core.disk import storage_error
from nas_pipeline.errors import NasError

logger = logging.getLogger("flows.pipeline")  # also where this module is __main__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the pipeline. Returns its exit status: 0, or that of the error (4: every target was refused)."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="Run the pipeline once.")
    parser.add_argument("--root", type=Path, default=Path(), help="workspace (default: the current folder)")
    parser.add_argument("--publish-only", action="store_true", help="run no stage")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    environment.prepare(root)
    environment.log_to_terminal()
    signal.signal(signal.SIGTERM, _end)
    interrupted = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: _interrupt(interrupted))
    try:
        with workspace_lock(root):
            code = _launch(root, options.publish_only)
    except (NasError, OSError) as raised:
        error = raised if isinstance(raised, NasError) else storage_error(raised, root)
        if error is None:
            raise
        if not interrupted.is_set():
            logger.error("error: %s", error)
        code = error.exit_code
    except KeyboardInterrupt:
        interrupted.set()
    if interrupted.is_set():
        logger.error("interrupted; run the same command again to continue")
        return 130
    return code


def _launch(root: Path, publish_only: bool) -> int:
    server = None
    if not os.environ.get("PREFECT_API_URL"):
        server = EmbeddedServer(Path(os.environ["PREFECT_HOME"]))
        os.environ["PREFECT_API_URL"] = server.url
        atexit.register(server.close)  # runs after prefect's own, which sends the last events

    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.pipeline_flow import pipeline
    from nas_pipeline.actions.publish import warm_up_tracking

    warm_up_tracking(root)  # takes seconds, during which the server starts
    if server is not None:
        server.wait()
    # Joining the heartbeat's thread takes up to a second, and nothing monitors a flow in this process.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        state = pipeline(str(root), publish_only, return_state=True)
    return _exit_code(state)


def _exit_code(state: Any) -> int:
    if state.is_completed():
        return 0
    error = state.result(raise_on_failure=False)
    if isinstance(error, NasError):
        logger.error("%s: %s", str(state.name).lower(), error)
        return error.exit_code
    logger.error("%s: %s", str(state.name).lower(), state.message,
                 exc_info=error if isinstance(error, Exception) else None)
    return 1


def _interrupt(interrupted: threading.Event) -> None:
    """Interrupts the running stage too: a library's callback may swallow the exception raised here."""
    interrupted.set()
    child.interrupt()
    raise KeyboardInterrupt


def _end(number: int, _frame: Any) -> None:
    sys.exit(128 + number)  # unwinds the stack, which ends the stage's processes


if __name__ == "__main__":
    raise SystemExit(main())
