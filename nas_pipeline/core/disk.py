"""Converts errors of the disk into `StorageError`: the message names the path, the free space and the remedy."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from nas_pipeline.errors import NasError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_LIBRARY_TEXTS = {
    "No space left on device": errno.ENOSPC, "os error 28": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT, "os error 122": errno.EDQUOT,
    "File too large": errno.EFBIG, "os error 27": errno.EFBIG,
    "Read-only file system": errno.EROFS, "os error 30": errno.EROFS,
    "database or disk is full": errno.ENOSPC, "attempt to write a readonly database": errno.EROFS,
}
"""Text -> errno. Libraries written in C++ and Rust raise their own errors, with the number only in the text."""


def storage_error(error: BaseException, path: Path) -> NasError | None:
    """Returns a `StorageError` for an error of the disk; None for any other error.

    Args:
        error: The error; its causes are examined too.
        path: The path that was written, for errors that do not name a file.
    """
    for cause in _chain(error):
        number, name = _number(cause)
        if number is not None:
            return StorageError(_message(number, Path(name) if name else path))
    return None


def _message(number: int, path: Path) -> str:
    if number in _FULL:
        return (f"{path} cannot be written: the disk or the quota is full ({_left(path)}). Free some space, for "
                "example with `dvc gc --workspace` or `make clean`, and run the same command again: it continues "
                "where it stopped")
    if number == errno.EROFS:
        return f"{path} cannot be written: the file system is read only. Mount it for writing, or use a copy elsewhere"
    return (f"{path} cannot be used: permission denied. Give its owner the right to read and write it "
            f"(`ls -ld {path.parent}` shows who that is), or run as that owner")


def _number(error: BaseException) -> tuple[int | None, str | None]:
    if isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, str) else None
        # A denial without a file name is not about the disk: a port below 1024, a process of another user.
        if error.errno in _FULL or (error.errno in _FORBIDDEN and name):
            return error.errno, name
    text = str(error)
    return next((number for words, number in _LIBRARY_TEXTS.items() if words in text), None), None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _left(path: Path) -> str:
    folder = next((parent for parent in (path, *path.resolve().parents) if parent.is_dir()), None)
    if folder is None:
        return "its folder does not exist"
    usage = shutil.disk_usage(folder)
    return f"{usage.free / 1e6:,.0f} MB of {usage.total / 1e6:,.0f} MB are free"
