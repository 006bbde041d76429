"""Prefect's server for the time of one pipeline, where PREFECT_API_URL names none.

Prefect's own embedded server is like this one, but writes its log (with a traceback at every exit) on the user's
terminal, is killed while it still records the last tasks, and stays behind when its parent is killed. This one logs
to a file, records what it has received, and ends when the pipe from its parent closes, however the parent ends.
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
"""The server records a task's events one by one, a few milliseconds each, from a queue that nobody can ask about."""
_STOP_TIMEOUT_S = 10
_CHILD = {
    "PREFECT__SERVER_EPHEMERAL": "1",  # only the services that a single flow needs
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
}


class EmbeddedServer:
    """A server in a child process, listening on a free port of the loopback interface from the first moment."""

    def __init__(self, home: Path) -> None:
        """Start the child and return at once; `wait` waits until it answers. `home` is PREFECT_HOME."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log = home / "server.log"
        self._migrated = home / "migrated"
        self._database = home / "prefect.db"
        # The socket is made here and handed over: no port can be lost to somebody else, and a request that is sent
        # before the server is ready waits in its queue.
        with socket.create_server(("127.0.0.1", 0)) as listener, self.log.open("ab") as log:
            listener.set_inheritable(True)
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.server", str(listener.fileno())],
                cwd=Path(__file__).resolve().parents[1], env=self._environment(os.environ), stdin=subprocess.PIPE,
                stdout=log, stderr=log, pass_fds=[listener.fileno()], start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            NasError: It ended, or did not answer in time; the message names its log.
        """
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=_STARTUP_TIMEOUT_S):
                write_text(self._migrated, importlib.metadata.version("prefect"))
        except OSError as error:
            self.stop()
            raise NasError(
                f"Prefect's server did not start ({error}): see {self.log}; `dvc repro` runs the stages without Prefect"
            ) from error

    def let_go(self) -> None:
        """Close the pipe: the server records what it has received, which takes it two seconds, and ends by itself."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def stop(self) -> None:
        """Let go, and wait until the server has ended."""
        self.let_go()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _environment(self, given: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in given.items() if name != "PREFECT_API_URL"}
        return {**kept, **_CHILD, "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": str(not self._is_migrated()).lower()}

    def _is_migrated(self) -> bool:
        # Looking through the migrations takes most of a second; a database of this very version needs none.
        if not (self._database.is_file() and self._migrated.is_file()):
            return False
        return self._migrated.read_text(encoding="utf-8") == importlib.metadata.version("prefect")


def serve(descriptor: int) -> None:
    """In the child: serve on the inherited socket until standard input ends."""
    import uvicorn

    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=descriptor)])


def _end_with_parent(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    time.sleep(_RECORDING_S)
    server.should_exit = True


if __name__ == "__main__":
    serve(int(sys.argv[1]))
