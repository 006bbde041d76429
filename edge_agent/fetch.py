"""Bytes from a web server or a folder (a USB stick).

The caller bounds the size; this module bounds the time.
"""

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

from edge_agent.disk import reach
from edge_agent.errors import AgentError
from edge_agent.watchdog import alive

CHUNK: Final = 1 << 16
RESERVE: Final = 1 << 15
"""Bytes that must stay free on the disk, for the state of the agent."""
TRIES: Final = 4
"""Tries of a request without an answer, and of a download without progress."""
CONNECTIONS: Final = 100
"""Connections for one download: bounds the requests to a server that sends a byte and closes."""


class Fetcher(FetcherInterface):
    """Reads the files of a repository."""

    last = ""
    """Name of the last requested metadata file: errors of python-tuf about a version do not always name the file."""

    @abstractmethod
    def stream(self, url: str, start: int) -> tuple[int, Generator[bytes]]:
        """Returns the actual start and the chunks; the start is 0 if the server does not support ranges.

        Raises:
            DownloadError: There is no answer.
        """

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self.stream(url, 0)[1]

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Downloads a file to memory; unlike the method of python-tuf, it works with a full disk.

        Raises:
            DownloadError: The file is missing, too long or too slow, or the connection broke.
        """
        self.last, content = url.rsplit("/", 1)[-1], bytearray()
        with closing(self.stream(url, 0)[1]) as chunks:
            for chunk in chunks:
                content += chunk
                if len(content) > max_length:
                    raise exceptions.DownloadLengthMismatchError(f"{url} has more than {max_length} bytes")
        return bytes(content)


class FolderFetcher(Fetcher):
    """Reads a repository in a folder; URLs are paths."""

    def __init__(self, base: str) -> None:
        self.base = Path(base.removeprefix("file://")).resolve()

    def stream(self, url: str, start: int) -> tuple[int, Generator[bytes]]:
        """See `Fetcher`."""
        path = Path(url.removeprefix("file://")).resolve()
        if not path.is_relative_to(self.base) or not path.is_file():  # no links to the outside, no pipes
            raise exceptions.DownloadHTTPError(f"{url} does not exist", 404)
        return start, self._chunks(path, start)

    def _chunks(self, path: Path, start: int) -> Generator[bytes]:
        try:
            with path.open("rb") as file:
                file.seek(start)
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise exceptions.DownloadError(f"{path} cannot be read: {error}") from error


class WebFetcher(Fetcher):
    """Reads a repository over HTTP or HTTPS.

    Args:
        min_speed: Bytes per second. A connection that is slower over `window_s` seconds is closed, also while the
            headers of a response arrive.
        window_s: Also the timeout for a connection or a byte.
    """

    def __init__(self, min_speed: float = 1024, window_s: float = 20) -> None:
        self.min_speed, self.window_s = min_speed, window_s
        self._sockets: list[socket] = []
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(window_s), headers={"Accept-Encoding": "identity", "User-Agent": "nas-agent"},
            retries=urllib3.Retry(TRIES, redirect=3, backoff_factor=0.05, backoff_jitter=0.05),
        )
        pools: tuple[Any, ...] = (urllib3.HTTPConnectionPool, urllib3.HTTPSConnectionPool)
        self._http.pool_classes_by_scheme = {pool.scheme: self._recording(pool) for pool in pools}

    def _recording(self, pool: Any) -> Any:
        """Returns a class of pools like `pool` whose last sockets are recorded, so that they can be shut down."""
        sockets, base = self._sockets, pool.ConnectionCls

        def connect(connection: Any) -> None:
            base.connect(connection)
            sockets[:] = [*sockets[-3:], connection.sock]

        return type("Recording", (pool,), {"ConnectionCls": type("Connection", (base,), {"connect": connect})})

    def stream(self, url: str, start: int) -> tuple[int, Generator[bytes]]:
        """See `Fetcher`."""
        chunks = self._response(url, start)
        return int(next(chunks)), chunks

    def _response(self, url: str, start: int) -> Generator[bytes]:
        """Yields the actual start, in decimal; then the chunks."""
        with self._watched(url) as count:
            headers = {**self._http.headers, **({"Range": f"bytes={start}-"} if start else {})}
            response = self._http.request("GET", url, headers=headers, preload_content=False)
            try:
                if response.status >= 400:
                    raise exceptions.DownloadHTTPError(f"{url}: HTTP status {response.status}", response.status)
                continues = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
                yield b"%d" % (start if response.status == 206 and continues else 0)
                while chunk := response.read1(CHUNK):  # returns what has arrived, without waiting for a full chunk
                    count(len(chunk))
                    yield chunk
            finally:
                response.close()

    def post(self, url: str, content: bytes) -> int:
        """Sends JSON and returns the HTTP status.

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
        """Closes the connections of a block that is too slow. A timeout of the socket restarts with each byte."""
        done, received, slow = threading.Event(), [0], []

        def watch() -> None:
            last = 0
            while not done.wait(self.window_s):
                if received[0] - last < self.min_speed * self.window_s:
                    for open_socket in self._sockets:
                        with suppress(OSError):  # closed meanwhile
                            open_socket.shutdown(SHUT_RDWR)
                            slow.append(True)
                last = received[0]

        def count(size: int) -> None:
            received[0] += size

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield count
            if slow:  # the end of a closed connection looks like the end of the file
                raise exceptions.SlowRetrievalError(f"{url} is slower than {self.min_speed:g} bytes per second")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            late = slow or isinstance(getattr(error, "reason", error), urllib3.exceptions.ReadTimeoutError)
            kind = exceptions.SlowRetrievalError if late else exceptions.DownloadError
            raise kind(f"{url}: {error}"[:300]) from error
        finally:
            done.set()


def fetcher_for(base: str, min_speed: float, window_s: float) -> Fetcher:
    """Returns a fetcher for a URL or a folder."""
    return WebFetcher(min_speed, window_s) if base.startswith(("http://", "https://")) else FolderFetcher(base)


def download(source: Fetcher, url: str, part: Path, length: int) -> None:
    """Downloads a file to `part`, and resumes an earlier download. The caller checks the hash.

    Raises:
        AgentError: disk_full, endless_data (more than `length` bytes; `part` is deleted), slow_data, unreachable.
        OSError: `part` cannot be written.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    idle = 0
    for _ in range(CONNECTIONS):
        have = _size(part)
        if have >= length:
            return
        free = shutil.disk_usage(part.parent).free
        if free < length - have + RESERVE:
            raise AgentError("disk_full", f"{free} bytes are free, {length - have + RESERVE} are needed: free space")
        try:
            _append(source, url, part, length, have)
        except (exceptions.SlowRetrievalError, exceptions.DownloadHTTPError) as error:
            slow = isinstance(error, exceptions.SlowRetrievalError)
            raise AgentError("slow_data" if slow else "unreachable", str(error)) from error
        except exceptions.DownloadError:
            time.sleep(0.05 * idle)
        idle = idle + 1 if _size(part) <= have else 0
        if idle > TRIES:
            break
    raise AgentError("unreachable", f"{url} ended at {_size(part)} of {length} bytes; the next check resumes there")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(source: Fetcher, url: str, part: Path, length: int, have: int) -> None:
    start, chunks = source.stream(url, have)
    with closing(chunks), part.open("r+b" if part.exists() else "wb") as file:
        size = file.seek(start)
        file.truncate()
        for chunk in chunks:
            size += len(chunk)
            if size > length:
                part.unlink()
                raise AgentError("endless_data", f"{url} has more than its {length} bytes")
            file.write(chunk)
            file.flush()
            reach("part")
            alive()
        os.fsync(file.fileno())
