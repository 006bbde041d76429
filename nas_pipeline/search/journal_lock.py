"""The journal's lock, held by the kernel: it is free the moment its holder dies.

Optuna's own locks are files that a killed holder leaves behind: the next run waited for such a lock for minutes.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock


class KernelLock(JournalFileOpenLock):
    """An exclusive `flock` on a file beside the journal. For processes of one machine, as the journal itself is."""

    def __init__(self, path: Path) -> None:
        """`path`: the lock file; it is made when it is first needed and never removed."""
        super().__init__(str(path))
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Wait until the lock is held."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go of it."""
        assert self._descriptor is not None, "release follows acquire"
        os.close(self._descriptor)
        self._descriptor = None
