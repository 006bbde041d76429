"""What a disk answers when it cannot do what it is asked, in our words: which place, how much is left, what to do."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from nas_pipeline.errors import NasError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_SAID = {
    "No space left on device": errno.ENOSPC, "os error 28": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT, "os error 122": errno.EDQUOT,
    "File too large": errno.EFBIG, "os error 27": errno.EFBIG,
    "Read-only file system": errno.EROFS, "os error 30": errno.EROFS,
    "database or disk is full": errno.ENOSPC, "attempt to write a readonly database": errno.EROFS,
}
"""Libraries in C++ and Rust raise errors of their own that have the number in their text only."""


def storage_error(error: BaseException, place: Path) -> NasError | None:
    """The same as an error of the house, where the disk is to blame; None where it is not.

    Args:
        error: What was raised; its causes are looked at too.
        place: Where was written, for an error that does not say it.
    """
    for each in _chain(error):
        number, name = _number(each)
        if number is not None:
            return StorageError(_message(number, Path(name) if name else place))
    return None


def _message(number: int, path: Path) -> str:
    if number in _FULL:
        return (f"{path} cannot be written: the disk or the quota is full ({_left(path)}). Free some space, for "
                "example with `dvc gc --workspace` or `make clean`, and give the same command again: it goes on where "
                "it stopped")
    if number == errno.EROFS:
        return f"{path} cannot be written: the file system is read only. Mount it for writing, or use a copy elsewhere"
    return (f"{path} cannot be used: permission denied. Give its owner the right to read and write it "
            f"(`ls -ld {path.parent}` shows who that is), or run as that owner")


def _number(error: BaseException) -> tuple[int | None, str | None]:
    if isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, str) else None
        # What forbids without naming a file is no disk: a port below 1024, somebody else's process.
        if error.errno in _FULL or (error.errno in _FORBIDDEN and name):
            return error.errno, name
    text = str(error)
    return next((number for words, number in _SAID.items() if words in text), None), None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _left(path: Path) -> str:
    folder = next((each for each in (path, *path.resolve().parents) if each.is_dir()), None)
    if folder is None:
        return "its folder does not exist"
    usage = shutil.disk_usage(folder)
    return f"{usage.free / 1e6:,.0f} MB of {usage.total / 1e6:,.0f} MB are free"
