"""Bytes from a web server or a folder (a USB stick), with bounds: of size by whoever asks, of time here."""

from __future__ import annotations

import os
import shutil
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, Final

import urllib3
from tuf.api import exceptions
from tuf.ngclient import FetcherInterface
from urllib3.connection import HTTPConnection, HTTPSConnection

from edge_agent.errors import AgentError
from edge_agent.failpoints import reach
from edge_agent.watchdog import alive

CHUNK: Final = 1 << 16
RESERVE: Final = 1 << 15
"""Bytes that have to stay free, for what the agent has to remember."""
TRIES: Final = 4
"""Of a request that got no answer; and of a download that makes no progress."""
CONNECTIONS: Final = 100
"""For one download: a server that gives a byte and hangs up is not asked for ever."""


class Source(FetcherInterface):
    """Where a repository is."""

    last = ""
    """Name of the last file of metadata asked for: python-tuf says that a version is wrong, but not always of what."""

    @abstractmethod
    def stream(self, url: str, start: int) -> tuple[int, Generator[bytes]]:
        """The bytes from `start` on; or from 0, if the other side knows no ranges. Says from where.

        Raises:
            DownloadError: There is no answer.
        """

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self.stream(url, 0)[1]

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """As the one of python-tuf, in memory: a full disk is no reason not to look.

        Raises:
            DownloadError: It is not there, too long, too slow, or the connection broke.
        """
        self.last, content = url.rsplit("/", 1)[-1], bytearray()
        with closing(self.stream(url, 0)[1]) as chunks:
            for chunk in chunks:
                content += chunk
                if len(content) > max_length:
                    raise exceptions.DownloadLengthMismatchError(f"{url} has more than the {max_length} bytes it may")
        return bytes(content)


class Folder(Source):
    """A repository in a folder; URLs are paths."""

    def __init__(self, base: str) -> None:
        self.base = Path(base.removeprefix("file://")).resolve()

    def stream(self, url: str, start: int) -> tuple[int, Generator[bytes]]:
        """See `Source`."""
        path = Path(url.removeprefix("file://")).resolve()
        if not path.is_relative_to(self.base) or not path.is_file():  # a link or a pipe on a stick leads nowhere
            raise exceptions.DownloadHTTPError(f"{url} is not there", 404)
        return start, self._chunks(path, start)

    def _chunks(self, path: Path, start: int) -> Generator[bytes]:
        try:
            with path.open("rb") as file:
                file.seek(start)
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise exceptions.DownloadError(f"{path} cannot be read: {error}") from error


class Web(Source):
    """A repository behind HTTP or HTTPS.

    Args:
        min_speed: Bytes per second; slower than that over `window_s` seconds is cut off, in the head of an answer too.
        window_s: Also the longest wait for a connection or a byte.
    """

    def __init__(self, min_speed: float = 1024, window_s: float = 20) -> None:
        self.min_speed, self.window_s = min_speed, window_s
        self._sockets: list[socket] = []
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(window_s), headers={"Accept-Encoding": "identity", "User-Agent": "nas-agent"},
            retries=urllib3.Retry(TRIES, redirect=3, backoff_factor=0.05, backoff_jitter=0.05),
        )
        seen = self._sockets

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                seen[:] = [*seen[-3:], self.sock]

        class Tls(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                seen[:] = [*seen[-3:], self.sock]

        http: Any = type("Http", (urllib3.HTTPConnectionPool,), {"ConnectionCls": Plain})
        https: Any = type("Https", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": Tls})
        self._http.pool_classes_by_scheme = {"http": http, "https": https}

    def stream(self, url: str, start: int) -> tuple[int, Generator[bytes]]:
        """See `Source`."""
        chunks = self._answer(url, start)
        return int(next(chunks)), chunks

    def _answer(self, url: str, start: int) -> Generator[bytes]:
        """First from where on, in decimal; then the bytes."""
        with self._watched(url) as count:
            headers = {**self._http.headers, **({"Range": f"bytes={start}-"} if start else {})}
            response = self._http.request("GET", url, headers=headers, preload_content=False)
            try:
                if response.status >= 400:
                    raise exceptions.DownloadHTTPError(f"{url}: HTTP status {response.status}", response.status)
                continues = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
                yield b"%d" % (start if response.status == 206 and continues else 0)
                while chunk := response.read1(CHUNK):  # what is there, not what was asked for: nothing waits in vain
                    count(len(chunk))
                    yield chunk
            finally:
                response.close()

    def post(self, url: str, content: bytes) -> int:
        """Send JSON; the HTTP status.

        Raises:
            DownloadError: There is no answer.
        """
        headers = {**self._http.headers, "Content-Type": "application/json"}
        with self._watched(url):
            response = self._http.request("POST", url, body=content, headers=headers, preload_content=False)
            response.close()
        return response.status

    @contextmanager
    def _watched(self, url: str) -> Iterator[Callable[[int], None]]:
        """Whatever is too slow inside is cut off: a timeout of the socket starts anew with each byte, this does not."""
        done, received, slow = threading.Event(), [0], []

        def watch() -> None:
            last = 0
            while not done.wait(self.window_s):
                if received[0] - last < self.min_speed * self.window_s:
                    for open_socket in self._sockets:
                        with suppress(OSError):  # closed by now
                            open_socket.shutdown(SHUT_RDWR)
                            slow.append(True)
                last = received[0]

        def count(size: int) -> None:
            received[0] += size

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield count
            if slow:  # what a cut connection gave so far looks like the end
                raise exceptions.SlowRetrievalError(f"{url} comes slower than {self.min_speed:g} bytes per second")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            kind = exceptions.SlowRetrievalError if slow or _timed_out(error) else exceptions.DownloadError
            raise kind(f"{url}: {error}"[:300]) from error
        finally:
            done.set()


def source_of(base: str, min_speed: float, window_s: float) -> Source:
    """What can read `base`."""
    return Web(min_speed, window_s) if base.startswith(("http://", "https://")) else Folder(base)


def download(source: Source, url: str, part: Path, length: int) -> None:
    """Fetch a file to `part`, going on where the last attempt ended; its hash is for the caller to look at.

    Raises:
        AgentError: disk_full, endless_data (more than `length` bytes; nothing is kept), slow_data, unreachable.
        OSError: The disk does not take it.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    idle = 0
    for _ in range(CONNECTIONS):
        have = _size(part)
        if have >= length:
            return
        free = shutil.disk_usage(part.parent).free
        if free < length - have + RESERVE:
            raise AgentError("disk_full", f"{free} bytes are free, and {length - have + RESERVE} are needed: make room")
        try:
            _append(source, url, part, length, have)
        except exceptions.SlowRetrievalError as error:
            raise AgentError("slow_data", str(error)) from error
        except exceptions.DownloadHTTPError as error:
            raise AgentError("unreachable", str(error)) from error
        except exceptions.DownloadError:
            time.sleep(0.05 * idle)
        idle = idle + 1 if _size(part) <= have else 0
        if idle > TRIES:
            break
    raise AgentError("unreachable", f"{url} broke at {_size(part)} of {length} bytes; the next look goes on there")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(source: Source, url: str, part: Path, length: int, have: int) -> None:
    start, chunks = source.stream(url, have)
    with closing(chunks), part.open("r+b" if part.exists() else "wb") as file:
        size = file.seek(start)
        file.truncate()
        for chunk in chunks:
            size += len(chunk)
            if size > length:
                part.unlink()
                raise AgentError("endless_data", f"{url} does not end after its {length} bytes")
            file.write(chunk)
            file.flush()
            reach("part")
            alive()
        os.fsync(file.fileno())


def _timed_out(error: Exception) -> bool:
    return isinstance(getattr(error, "reason", error), urllib3.exceptions.ReadTimeoutError)
