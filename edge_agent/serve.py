"""Answers requests on loopback with the model in use, through every change of it; and measures models that are sent.

A model that cannot be opened, fails three times in a row or ends the process three times gives way to the other one.
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
from edge_agent.drift import Sketch
from edge_agent.errors import AgentError
from edge_agent.model import Floats, Model, Uint8Images
from edge_agent.slots import Slot, Slots
from edge_agent.state import write_atomic

_MAX_BODY, _MAX_BENCH, _TIMEOUT_S = 32 << 20, 512 << 20, 20
_MOST_FAILURES, _SETTLED_S = 3, 300.0


class Serving:
    """The model in use, opened; follows the link `current`."""

    def __init__(self, state: Path) -> None:
        self._slots, self.sketch = Slots(state), Sketch(state)
        self._starts, self._lock = state / "serving.json", threading.Lock()
        self._model: tuple[Slot, Model] | None = None
        self._link: tuple[Any, ...] = ()
        self._since, self._failures = 0.0, 0
        self._bad: set[str] = set()

    def current(self) -> tuple[Slot, Model] | None:
        """The slot in use and its model; whoever still holds the one before may finish with it."""
        with self._lock:
            link = self._where()
            if link != self._link:
                self._link = link
                self._open()
            if self._since and time.monotonic() - self._since > _SETTLED_S:
                self.settle()
            return self._model

    def predict(self, raw: bytes) -> dict[str, Any]:
        """Class names and confidences for uint8 pixels [N, C, H, W].

        Raises:
            ValueError: They are no images that it takes.
            AgentError: There is no model, or it fails.
        """
        for last in (False, True):
            found = self.current()
            if found is None:
                raise AgentError("crashed", "there is no model that works")
            slot, model = found
            pixels = model.images(raw)
            try:
                logits = model.predict(pixels)
            except AgentError:
                if self._failed(slot) and not last:
                    continue  # it gave way: the other one answers this request
                raise
            self._failures = 0
            return self._answer(slot, pixels, logits)
        raise AssertionError("not reached")

    def settle(self) -> None:
        """The model in use has not ended this process: what is counted against it starts anew."""
        self._since = 0.0
        with contextlib.suppress(OSError):
            self._starts.unlink(missing_ok=True)

    def _answer(self, slot: Slot, pixels: Uint8Images, logits: Floats) -> dict[str, Any]:
        self.sketch.add(pixels, logits)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        confidence = odds.max(axis=1) / odds.sum(axis=1)
        return {"classes": [slot.card.class_names[index] for index in logits.argmax(1)],
                "confidences": [round(float(each), 6) for each in confidence], **self.about(slot)}

    @staticmethod
    def about(slot: Slot) -> dict[str, Any]:
        """Which model it is."""
        return {"counter": slot.release.counter, "sha256": slot.card.sha256}

    def _where(self) -> tuple[Any, ...]:
        try:
            place = self._slots.link.resolve(strict=True)
            return str(place), (place / "release.json").stat().st_mtime_ns
        except OSError:
            return ("",)

    def _open(self) -> None:
        """Open the one in use, else the other one; neither a second time once it went wrong."""
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
            if not self._give_way():
                return

    def _give_way(self) -> bool:
        spare = self._slots.spare()
        if spare is None or spare.card.sha256 in self._bad or not self._slots.revert():
            return False
        self._link = self._where()
        return True

    def _failed(self, slot: Slot) -> bool:
        """Count a failure; whether another model is in use now."""
        with self._lock:
            if self._model is None or self._model[0] is not slot:
                return self._model is not None
            self._failures += 1
            if self._failures < _MOST_FAILURES:
                return False
            self._bad.add(slot.card.sha256)
            if self._give_way():
                self._open()
            return self._model is not None and self._model[0] is not slot

    def _may_start(self, sha256: str) -> bool:
        """Whether it has not ended the process too often; counted before it is opened."""
        try:
            found = json.loads(self._starts.read_bytes())
            starts = int(found["starts"]) if found["sha256"] == sha256 else 0
        except (OSError, ValueError, KeyError, TypeError):
            starts = 0
        with contextlib.suppress(OSError):
            write_atomic(self._starts, json.dumps({"sha256": sha256, "starts": starts + 1}).encode())
        return starts < _MOST_FAILURES


class Server(ThreadingHTTPServer):
    """One thread for each request; ends when those that run have ended."""

    daemon_threads = False
    serving: Serving
    benching = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away or fell silent is no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """GET /health, POST /predict, POST /bench."""

    server: Server
    timeout = _TIMEOUT_S
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Health: 200 with a model that answers."""
        if self.path != "/health":
            return self._say(404, {"error": "no such page: GET /health"})
        found = self.server.serving.current()
        if found is None:
            return self._say(503, {"error": "there is no model that works"})
        card = found[0].card
        try:
            found[1].predict(np.zeros((1, card.channels, card.height, card.width), np.uint8))
        except AgentError as error:
            return self._say(503, {"error": error.message, "code": error.code})
        return self._say(200, {"model": found[0].release.model, **Serving.about(found[0])})

    def do_POST(self) -> None:
        """Predict or bench."""
        url = urlsplit(self.path)
        try:
            length = int(self.headers.get("Content-Length", "-1"))
            limit = {"/predict": _MAX_BODY, "/bench": _MAX_BENCH}.get(url.path)
            if limit is None or self.headers.get("Origin"):  # a page in a browser has no business here
                return self._say(403 if limit else 404, {"error": "POST /predict or /bench, from no web page"})
            if not 0 <= length <= limit:
                return self._say(413 if length > limit else 411, {"error": f"give 1 to {limit} bytes and their number"})
            body = self.rfile.read(length)
            if len(body) != length:
                raise ValueError("the body is shorter than was said")
            if url.path == "/bench":
                return self._bench(body, {key: each[-1] for key, each in parse_qs(url.query).items()})
            if self.headers.get_content_type() == "application/json":
                body = base64.b64decode(json.loads(body)["pixels"], validate=True)
            return self._say(200, self.server.serving.predict(body))
        except AgentError as error:
            return self._say(503 if url.path == "/predict" else 422, {"error": error.message, "code": error.code})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return self._say(400, {"error": f"{type(error).__name__}: {error}"[:300]})

    def _bench(self, body: bytes, asked: dict[str, str]) -> None:
        sizes = [int(each) for each in asked.get("sizes", str(len(body))).split(",")]
        if sum(sizes) != len(body) or min(sizes) < 1:
            raise ValueError("sizes are not those of the files in the body")
        if not self.server.benching.acquire(blocking=False):
            return self._say(429, {"error": "another measurement is running"})
        try:
            files = [body[sum(sizes[:index]):sum(sizes[:index + 1])] for index in range(len(sizes))]
            numbers = {name: int(asked.get(name, value)) for name, value in
                       (("threads", 1), ("runs", 500), ("warmup", 50))}
            answer = measure(files, **numbers)
        finally:
            self.server.benching.release()  # before the answer: whoever has it may ask for the next one
        return self._say(200, answer)

    def _say(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.close_connection = self.close_connection or status >= 400  # a body may be left unread
        self.send_response(status)
        for name, text in (("Content-Type", "application/json"), ("Content-Length", str(len(content)))):
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the requests of a device are nobody's business."""


def make(state: Path, host: str, port: int, *, any_address: bool = False) -> Server:
    """A server that listens; port 0 takes a free one.

    Raises:
        ValueError: `host` is no loopback address.
    """
    if not (any_address or ipaddress.ip_address(host).is_loopback):
        raise ValueError(f"{host} can be reached from outside: there is no password; --any-address if that is meant")
    server = Server((host, port), Handler)
    server.serving = Serving(state)
    return server


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="nas-agent serve", description="Answer requests with the model in use.")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/nas-agent"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--any-address", action="store_true", help="also one that others reach; there is no password")
    told = parser.parse_args(argv)
    try:
        server = make(told.state, told.host, told.port, any_address=told.any_address)
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
