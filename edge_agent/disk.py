"""Atomic writes, and failpoints at which a test kills the process or fills the disk."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Final

STEPS: Final = ("refreshed", "checked", "part", "downloaded", "verified", "cleared", "moved", "staged", "probation",
                "passed", "flipped", "committed")
"""Failpoints in the order of an installation."""
WRITES: Final = ("part", "cleared", "flip", "write:releases.json", "write:release.json", "write:state.json",
                 "write:outbox")
"""Failpoints at which something is written."""


def reach(name: str) -> None:
    """Marks a failpoint. Without the environment variable NAS_AGENT_FAIL_AT it does nothing.

    NAS_AGENT_FAIL_AT=name kills the process at that point; NAS_AGENT_FAIL_AT=name:full simulates a full disk.

    Raises:
        OSError: ENOSPC, if a test requests it.
    """
    wanted = os.environ.get("NAS_AGENT_FAIL_AT")
    if wanted == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == name + ":full":
        raise OSError(errno.ENOSPC, "No space left on device (simulated by a test)", name)


def write_atomic(path: Path, content: bytes) -> None:
    """Replaces a file in one step: after a power cut it has the old or the new content.

    Raises:
        OSError: It cannot be written; the old content is unchanged.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            reach(f"write:{'outbox' if path.parent.name == 'outbox' else path.name}")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Writes a file, or the entries of a folder, through to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
