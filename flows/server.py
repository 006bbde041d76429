"""A Prefect server for the duration of one pipeline, used if PREFECT_API_URL is not set.

It replaces Prefect's own embedded server, which logs to the user's terminal (with a traceback at every exit), is killed
before it has recorded the last tasks, and keeps running if its parent is killed. This server logs to a file, records
what it has received, and exits when the pipe from its parent closes, whatever ended the parent.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nas_pipeline.core.files import write_text
from nas_pipeline.errors import NasError

if TYPE_CHECKING:
    import uvicorn

_STARTUP_TIMEOUT_S = 120
_RECORDING_S = 1.0
"""Time to record the remaining events: a few milliseconds each, from a queue whose length is not available."""
_STOP_TIMEOUT_S = 10
_CHILD = {
    "PREFECT__SERVER_EPHEMERAL": "1",  # starts only the services that a single flow needs
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
}


class EmbeddedServer:
    """A server in a child process. Its port on the loopback interface accepts connections as soon as it is created."""

    def __init__(self, home: Path) -> None:
        """Starts the child without waiting for it.

        Args:
            home: The folder PREFECT_HOME.
        """
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log = home / "server.log"
        self._migrated = home / "migrated"
        self._database = home / "prefect.db"
        # The child inherits a socket that listens already: no other process can take the port, and a request that is
        # sent before the server is ready waits in the socket's queue.
        with socket.create_server(("127.0.0.1", 0)) as listener, self.log.open("ab") as log:
            listener.set_inheritable(True)
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.server", str(listener.fileno())],
                cwd=Path(__file__).resolve().parents[1], env=self._environment(os.environ), stdin=subprocess.PIPE,
                stdout=log, stderr=log, pass_fds=[listener.fileno()], start_new_session=True,
            )

    def wait(self) -> None:
        """Waits until the server responds.

        Raises:
            NasError: The server exited, or did not respond in time; the message contains the path of its log.
        """
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=_STARTUP_TIMEOUT_S):
                write_text(self._migrated, importlib.metadata.version("prefect"))
        except OSError as error:
            self.stop()
            raise NasError(
                f"Prefect's server did not start ({error}): see {self.log}; `dvc repro` runs the stages without Prefect"
            ) from error

    def close(self) -> None:
        """Closes the pipe: the server records what it has received, which takes about two seconds, and exits."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def stop(self) -> None:
        """Closes the pipe and waits until the server has exited."""
        self.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        variables = {name: value for name, value in inherited.items() if name != "PREFECT_API_URL"}
        return {**variables, **_CHILD, "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": str(not self._is_migrated()).lower()}

    def _is_migrated(self) -> bool:
        # The check for migrations takes most of a second; a database of the same version needs none.
        if not (self._database.is_file() and self._migrated.is_file()):
            return False
        return self._migrated.read_text(encoding="utf-8") == importlib.metadata.version("prefect")


def serve(descriptor: int) -> None:
    """Serves on the inherited socket `descriptor` until standard input is closed. Runs in the child."""
    import uvicorn

    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=_exit_with_parent, args=(server,), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=descriptor)])


def _exit_with_parent(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    time.sleep(_RECORDING_S)
    server.should_exit = True


if __name__ == "__main__":
    serve(int(sys.argv[1]))
