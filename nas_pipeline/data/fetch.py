"""Retrieval of the files of a published data set by several ways, none of which needs an account or root.

Callers verify the content by checksums of the decoded values, regardless of where the files come from.
"""

from __future__ import annotations

import http.client
import logging
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from nas_pipeline.errors import DataError

log = logging.getLogger(__name__)
T = TypeVar("T")

_COMMAND_TIMEOUT_S = 300
_SOCKET_TIMEOUT_S = 30
_MAX_DOWNLOAD_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Way(Generic[T]):
    """One way to load something: its name in messages, the function that loads, and whether it needs a network."""

    name: str
    load: Callable[[], T]
    network: bool = False


def first_that_works(what: str, ways: Sequence[Way[T]], *, offline: bool, advice: str) -> tuple[str, T]:
    """Try ways in order; return name and result of the first that succeeds. `offline` skips those that need a network.

    Raises:
        DataError: No way succeeds. The message lists the reason for every way, and `advice`.
    """
    failures: list[str] = []
    for way in ways:
        if offline and way.network:
            failures.append(f"  - {way.name}: skipped, offline is set")
            continue
        try:
            loaded = way.load()
        except DataError as error:
            failures.append(f"  - {way.name}: {error}")
            log.debug("%s: %s failed: %s", what, way.name, error)
        else:
            log.info("%s: loaded from %s", what, way.name)
            return way.name, loaded
    raise DataError("\n".join([f"{what} cannot be loaded. Ways tried:", *failures, advice]))


def debian_package(package: str, folder: str, names: Sequence[str], into: Path) -> None:
    """Extract the files `names` in `folder` of a Debian package into the folder `into`.

    Nothing is installed and root is not needed. Private package lists are fetched if the machine has none.

    Raises:
        DataError: apt-get or dpkg-deb is missing or fails, or a file is not in the package.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DataError(f"{tool} is not installed")
    with tempfile.TemporaryDirectory(dir=into, prefix=".apt-") as name:
        work = Path(name).resolve()
        archive = _download_package(package, work)
        _run(["dpkg-deb", "-x", str(archive), str(work / "unpacked")], work)
        for file in names:
            unpacked = work / "unpacked" / folder.lstrip("/") / file
            if not unpacked.is_file():
                raise DataError(f"package {package} has no {folder}/{file}")
            unpacked.replace(into / file)


def addresses(base: str, names: Sequence[str], into: Path) -> None:
    """Download `base`/name for each of `names` into the folder `into`.

    Raises:
        DataError: A server does not respond within 30 s, responds with an error, or sends more than 1 GiB.
    """
    for name in names:
        url = f"{base.rstrip('/')}/{name}"
        try:
            with urllib.request.urlopen(url, timeout=_SOCKET_TIMEOUT_S) as response:
                content = response.read(_MAX_DOWNLOAD_BYTES + 1)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, OSError) as error:
            raise DataError(f"{url}: {getattr(error, 'reason', error)}") from error
        if len(content) > _MAX_DOWNLOAD_BYTES:
            raise DataError(f"{url} sends more than {_MAX_DOWNLOAD_BYTES} bytes")
        (into / name).write_bytes(content)


def _download_package(package: str, work: Path) -> Path:
    try:
        _run(["apt-get", "-q", "download", package], work)
    except DataError as error:
        log.debug("the package lists of the machine cannot be used (%s): fetching private ones", error)
        private = _private_state(work)
        _run(["apt-get", "-q", *private, "update"], work)
        _run(["apt-get", "-q", *private, "download", package], work)
    archives = list(work.glob("*.deb"))
    if len(archives) != 1:
        raise DataError(f"apt-get download {package} left {len(archives)} archives, expected one")
    return archives[0]


def _private_state(work: Path) -> list[str]:
    """Options that place the whole state of apt in `work`, so that neither root nor a system lock is needed."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State": str(work / "state"),
        "Dir::State::lists": str(work / "state/lists"),
        "Dir::Cache": str(work / "cache"),
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",  # the user of apt has no access to the folder
    }
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(
            command, cwd=folder, env=environment, check=True, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=_COMMAND_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit {error.returncode}"])[-1]
        raise DataError(f"{command[0]}: {reason}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{command[0]}: {error}") from error
