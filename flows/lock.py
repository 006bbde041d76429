"""Locks between pipelines. The kernel releases a lock when its holder dies, whatever the cause.

On file systems without flock, acquiring a lock fails: filelock's fallback is a file that remains when its holder is
killed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from nas_pipeline.errors import WorkspaceBusy


@contextlib.contextmanager
def workspace_lock(root: Path, name: str = "pipeline.lock") -> Iterator[None]:
    """Holds the lock `name` of the workspace `root` during the block. The lock file contains the holder's process id.

    Raises:
        WorkspaceBusy: Another process holds the lock; the message contains its process id.
    """
    path = root / ".nas" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path, fallback_to_soft=False).acquire(blocking=False)
    except Timeout:
        holder = path.read_text(encoding="ascii").strip() or "unknown"
        raise WorkspaceBusy(
            f"another pipeline (process {holder}) runs in {root.resolve()}: wait for it, or use another profile"
        ) from None
    with lock:
        path.write_text(str(os.getpid()), encoding="ascii")
        yield


def pipeline_turn(repo: Path) -> FileLock:
    """Returns the lock that serialises the scheduled pipelines of a repository: parallel runs distort latencies.

    Args:
        repo: Root of the repository.
    """
    folder = repo / ".nas"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "turn.lock", fallback_to_soft=False)
