"""A web server on the loopback interface, with correct or malicious behaviour."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Behaviour = Callable[["Handler", bytes], None]
"""Responds to a request for an existing file with its bytes from the requested start."""


class Handler(BaseHTTPRequestHandler):
    """Serves `server.folder`, with ranges."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.server.folder / self.path.lstrip("/")
        self.server.requests.append((self.path, self.headers.get("Range")))
        if not path.is_file():
            self.send_error(404)
            return
        self.server.behaviour(self, path.read_bytes())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append(body)
        self.send_response(self.server.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def start(self, content: bytes, length: int | None = None) -> int:
        """Sends the headers; returns the start of the requested range."""
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first if length is None else length))
        self.end_headers()
        return first

    def drop(self) -> None:
        """Closes the connection without a response."""
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    """The state of a server."""

    daemon_threads = True

    def __init__(self, folder: Path, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.behaviour = folder, behaviour
        self.requests: list[tuple[str, str | None]] = []
        self.posted: list[bytes] = []
        self.answer = 204
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that close the connection."""


def honest(handler: Handler, content: bytes) -> None:
    """Responds as a correct web server."""
    first = handler.start(content)
    handler.wfile.write(content[first:])


@contextmanager
def serving(folder: Path, behaviour: Behaviour = honest) -> Iterator[Server]:
    """Yields a server of a folder, and stops it."""
    with Server(folder, behaviour) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
