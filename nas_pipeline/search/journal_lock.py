"""The lock of the journal, held by the kernel, which releases it when the holding process ends.

Optuna's own locks are files that a killed process leaves behind; the next run would wait for minutes. A writer that is
killed, or meets a full disk, may leave an incomplete line. The next writer would append to it and make the journal
unreadable, so acquiring the lock first removes an incomplete last line.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from optuna.storages.journal import JournalFileOpenLock


class KernelLock(JournalFileOpenLock):
    """An exclusive `flock` on a file beside the journal, for processes of one machine, as the journal itself is."""

    def __init__(self, journal: Path) -> None:
        """`journal` is the file to lock. The lock file is created when it is first needed and never removed."""
        self._path = journal.with_suffix(".lock")
        super().__init__(str(self._path))
        self._journal = journal
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Waits for the lock; the journal then ends with a complete line."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._descriptor = descriptor
        self._remove_incomplete_line()
        return True

    def _remove_incomplete_line(self) -> None:
        with self._journal.open("a+b") as stream:
            if stream.tell() == 0 or _ends_with_newline(stream):
                return
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)

    def release(self) -> None:
        """Releases the lock."""
        assert self._descriptor is not None, "release follows acquire"
        os.close(self._descriptor)
        self._descriptor = None


def _ends_with_newline(stream: BinaryIO) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"
