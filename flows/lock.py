"""One pipeline at a time in a workspace. The system frees the lock when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from nas_pipeline.errors import NasError, Transient


class WorkspaceBusy(Transient, NasError):
    """Another pipeline runs in this workspace."""


@contextlib.contextmanager
def workspace_lock(root: Path, name: str = "pipeline.lock") -> Iterator[None]:
    """Hold the workspace's lock of that name during the block.

    Raises:
        WorkspaceBusy: Another pipeline holds it; the message says which process.
    """
    path = root / ".nas" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise WorkspaceBusy(
                f"another pipeline (process {holder}) runs in {root.resolve()}: wait for it, or use another profile"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextlib.contextmanager
def in_turn(repo: Path) -> Iterator[None]:
    """Wait until no other scheduled pipeline of this repository runs here: two would spoil each other's latencies."""
    path = repo / ".nas" / "turn.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
