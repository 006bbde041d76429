"""The journal's lock, held by the kernel: it is free the moment its holder dies.

Optuna's own locks are files that a killed holder leaves behind: the next run waited for such a lock for minutes. And a
writer that was killed, or found the disk full, may leave half a line, to which the next would append: the journal
could never be read again. Whoever takes the lock cuts such a line off first.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from optuna.storages.journal import JournalFileOpenLock


class KernelLock(JournalFileOpenLock):
    """An exclusive `flock` on a file beside the journal. For processes of one machine, as the journal itself is."""

    def __init__(self, journal: Path) -> None:
        """`journal`: the file that is locked. The lock file is made when it is first needed and never removed."""
        self._path = journal.with_suffix(".lock")
        super().__init__(str(self._path))
        self._journal = journal
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Wait until the lock is held; the journal then ends with a whole line."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._descriptor = descriptor
        self._mend()
        return True

    def _mend(self) -> None:
        with self._journal.open("a+b") as stream:
            if stream.tell() == 0 or _ends_whole(stream):
                return
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)

    def release(self) -> None:
        """Let go of it."""
        assert self._descriptor is not None, "release follows acquire"
        os.close(self._descriptor)
        self._descriptor = None


def _ends_whole(stream: BinaryIO) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"
