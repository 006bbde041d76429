"""Atomic files: write to a temporary file in the same folder, fsync, rename.

All artefacts are written this way, so a crash leaves either the old file or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yields the path of a temporary file beside `target`; renames it to `target` if the block succeeds.

    Raises:
        OSError: The folder cannot be written; `target` is unchanged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        fsync_path(temporary)
        temporary.chmod(0o644)
        temporary.replace(target)
        fsync_path(target.parent)
    except OSError as error:
        if error.filename is None:  # the error of a full disk has no file name
            error.filename = str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yields the path of an empty temporary folder beside `target`; replaces `target` by it if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    temporary.chmod(0o755)
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                fsync_path(path)
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
        fsync_path(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Writes `text` atomically as UTF-8."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Writes `value` atomically as indented JSON with sorted keys, so that equal values give equal files."""
    write_text(target, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def append_line(target: Path, line: str) -> None:
    """Appends one line to a file, and flushes it to the disk.

    Uses one write with O_APPEND, so lines of concurrent writers are not interleaved.

    Raises:
        ValueError: The text contains a line break.
    """
    if "\n" in line:
        raise ValueError(f"not one line: {line!r:.200}")
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fsync_path(target.parent)


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not JSON; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def canonical_json(value: Any) -> str:
    """Returns the canonical JSON text of a value: sorted keys, no spaces, ASCII only. Used for all digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha256_text(text: str) -> str:
    """Returns the hex sha256 of `text` in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Returns the hex sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fsync_path(path: Path) -> None:
    """Flushes a file, or the directory entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
