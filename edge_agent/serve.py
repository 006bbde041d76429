"""HTTP server on the loopback interface: predictions of the model in use, and latency measurements.

The server follows each change of the model in use. It reverts to the previous model if the model in use cannot be
opened, fails three times in a row, or ends the process three times.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import ipaddress
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from edge_agent.bench import measure
from edge_agent.disk import write_atomic
from edge_agent.drift import Sketch, confidences
from edge_agent.errors import AgentError
from edge_agent.model import Floats, Model, Uint8Images
from edge_agent.slots import Slot, Slots

_MAX_BODY, _MAX_BENCH, _TIMEOUT_S = 32 << 20, 512 << 20, 20
_MAX_FAILURES, _SETTLED_S = 3, 300.0


class Serving:
    """The opened model in use; follows the link `current`.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._slots, self.sketch = Slots(state), Sketch(state)
        self._starts, self._lock = state / "serving.json", threading.Lock()
        self._model: tuple[Slot, Model] | None = None
        self._link: tuple[Any, ...] = ()
        self._since, self._failures = 0.0, 0
        self._bad: set[str] = set()

    def current(self) -> tuple[Slot, Model] | None:
        """Returns the slot in use and its model. A caller may finish its work with the previous model."""
        with self._lock:
            link = self._link_target()
            if link != self._link:
                self._link = link
                self._open()
            if self._since and time.monotonic() - self._since > _SETTLED_S:
                self.settle()
            return self._model

    def predict(self, raw: bytes) -> dict[str, Any]:
        """Returns class names and confidences for uint8 pixels [N, C, H, W].

        Raises:
            ValueError: The bytes are not a whole number of images.
            AgentError: There is no working model, or it fails.
        """
        for last in (False, True):
            current = self.current()
            if current is None:
                raise AgentError("crashed", "there is no working model")
            slot, model = current
            pixels = model.images(raw)
            try:
                logits = model.predict(pixels)
            except AgentError:
                if self._failed(slot) and not last:
                    continue  # reverted: the previous model serves this request
                raise
            self._failures = 0
            return self._answer(slot, pixels, logits)
        raise AssertionError("not reached")

    def settle(self) -> None:
        """Resets the count of starts: the model in use has not ended this process."""
        self._since = 0.0
        with contextlib.suppress(OSError):
            self._starts.unlink(missing_ok=True)

    def _answer(self, slot: Slot, pixels: Uint8Images, logits: Floats) -> dict[str, Any]:
        self.sketch.add(pixels, logits)
        return {"classes": [slot.card.class_names[index] for index in logits.argmax(1)],
                "confidences": [round(float(value), 6) for value in confidences(logits)], **self.about(slot)}

    @staticmethod
    def about(slot: Slot) -> dict[str, Any]:
        """Returns counter and sha256 of a release."""
        return {"counter": slot.release.counter, "sha256": slot.card.sha256}

    def _link_target(self) -> tuple[Any, ...]:
        try:
            folder = self._slots.link.resolve(strict=True)
            return str(folder), (folder / "release.json").stat().st_mtime_ns
        except OSError:
            return ("",)

    def _open(self) -> None:
        """Opens the model in use, otherwise the previous one; a model that failed is not opened again."""
        self._model, self._failures = None, 0
        for _ in range(2):
            slot = self._slots.current()
            if slot is not None and slot.card.sha256 not in self._bad and self._may_start(slot.card.sha256):
                try:
                    self._model = slot, Model(slot.onnx, slot.card, slot.release.threads)
                    self._since = time.monotonic()
                    return
                except (AgentError, OSError):
                    pass
            self._bad |= {slot.card.sha256} if slot is not None else set()
            if not self._revert():
                return

    def _revert(self) -> bool:
        spare = self._slots.spare()
        if spare is None or spare.card.sha256 in self._bad or not self._slots.revert():
            return False
        self._link = self._link_target()
        return True

    def _failed(self, slot: Slot) -> bool:
        """Counts a failure; returns whether another model is in use now."""
        with self._lock:
            if self._model is None or self._model[0] is not slot:
                return self._model is not None
            self._failures += 1
            if self._failures < _MAX_FAILURES:
                return False
            self._bad.add(slot.card.sha256)
            if self._revert():
                self._open()
            return self._model is not None and self._model[0] is not slot

    def _may_start(self, sha256: str) -> bool:
        """Counts a start before the model is opened; returns whether it has ended the process too often."""
        try:
            value = json.loads(self._starts.read_bytes())
            starts = int(value["starts"]) if value["sha256"] == sha256 else 0
        except (OSError, ValueError, KeyError, TypeError):
            starts = 0
        with contextlib.suppress(OSError):
            write_atomic(self._starts, json.dumps({"sha256": sha256, "starts": starts + 1}).encode())
        return starts < _MAX_FAILURES


class Server(ThreadingHTTPServer):
    """HTTP server with one thread per request; it stops after the running requests have ended."""

    daemon_threads = False
    serving: Serving
    benching = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores closed connections and timeouts."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """GET /health, POST /predict, POST /bench."""

    server: Server
    timeout = _TIMEOUT_S
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Health: status 200 if the model in use predicts."""
        if self.path != "/health":
            return self._send(404, {"error": "no such page: GET /health"})
        current = self.server.serving.current()
        if current is None:
            return self._send(503, {"error": "there is no working model"})
        slot, model = current
        try:
            model.predict(np.zeros((1, slot.card.channels, slot.card.height, slot.card.width), np.uint8))
        except AgentError as error:
            return self._send(503, {"error": error.message, "code": error.code})
        return self._send(200, {"model": slot.release.model, **Serving.about(slot)})

    def do_POST(self) -> None:
        """Predict or bench."""
        url = urlsplit(self.path)
        try:
            length = int(self.headers.get("Content-Length", "-1"))
            limit = {"/predict": _MAX_BODY, "/bench": _MAX_BENCH}.get(url.path)
            if limit is None or self.headers.get("Origin"):  # a request of a web page in a browser
                return self._send(403 if limit else 404, {"error": "POST /predict or /bench, not from a web page"})
            if not 0 <= length <= limit:
                return self._send(413 if length > limit else 411, {"error": f"send 1 to {limit} bytes with a length"})
            body = self.rfile.read(length)
            if len(body) != length:
                raise ValueError("the body is shorter than Content-Length")
            if url.path == "/bench":
                return self._bench(body, {name: values[-1] for name, values in parse_qs(url.query).items()})
            if self.headers.get_content_type() == "application/json":
                body = base64.b64decode(json.loads(body)["pixels"], validate=True)
            return self._send(200, self.server.serving.predict(body))
        except AgentError as error:
            return self._send(503 if url.path == "/predict" else 422, {"error": error.message, "code": error.code})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return self._send(400, {"error": f"{type(error).__name__}: {error}"[:300]})

    def _bench(self, body: bytes, query: dict[str, str]) -> None:
        sizes = [int(size) for size in query.get("sizes", str(len(body))).split(",")]
        if sum(sizes) != len(body) or min(sizes) < 1:
            raise ValueError("sizes do not match the body")
        if not self.server.benching.acquire(blocking=False):
            return self._send(429, {"error": "another measurement is running"})
        try:
            files = [body[sum(sizes[:index]):sum(sizes[:index + 1])] for index in range(len(sizes))]
            numbers = {name: int(query.get(name, value)) for name, value in
                       (("threads", 1), ("runs", 500), ("warmup", 50))}
            result = measure(files, **numbers)
        finally:
            self.server.benching.release()  # before the response: its receiver may start the next measurement
        return self._send(200, result)

    def _send(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.close_connection = self.close_connection or status >= 400  # the body may not have been read
        self.send_response(status)
        for name, text in (("Content-Type", "application/json"), ("Content-Length", str(len(content)))):
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: requests are private."""


def create_server(state: Path, host: str, port: int, *, any_address: bool = False) -> Server:
    """Creates a listening server; port 0 selects a free port.

    Raises:
        ValueError: `host` is not a loopback address, and `any_address` is false.
    """
    if not (any_address or ipaddress.ip_address(host).is_loopback):
        raise ValueError(f"{host} is not a loopback address, and there is no password; allow it with --any-address")
    server = Server((host, port), Handler)
    server.serving = Serving(state)
    return server


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="nas-agent serve", description="Serve the model in use over HTTP.")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/nas-agent"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--any-address", action="store_true", help="allow an address that is not loopback")
    options = parser.parse_args(argv)
    try:
        server = create_server(options.state, options.host, options.port, any_address=options.any_address)
    except ValueError as error:
        parser.error(str(error))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serving.current()
    server.serve_forever(poll_interval=0.2)
    server.server_close()
    server.serving.sketch.save()
    server.serving.settle()
    return 0
