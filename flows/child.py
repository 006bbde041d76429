"""A child process whose whole group is gone when we are done with it, by whatever way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from flows.environment import with_our_commands

_PATIENCE_S = 10.0
"""How long a child may take to end in order after Ctrl-C, before it is killed."""

active: set[subprocess.Popen[str]] = set()
"""The running children, so that a signal can end them even where the exception it raises gets lost."""


def interrupt() -> None:
    """Send SIGINT to each running child's group, as Ctrl-C would if it shared the terminal's."""
    for child in tuple(active):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, changed: Mapping[str, str] | None = None, dropped: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A child in a process group of its own; what it says, errors included, is `stdout`, line by line.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        changed: Environment variables of its own, over ours.
        dropped: Beginnings of the names of ours that it is not to see.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith(tuple(dropped))}
    child = subprocess.Popen(
        command, cwd=folder, env=with_our_commands({**ours, "PYTHONUNBUFFERED": "1", **(changed or {})}), text=True,
        bufsize=1, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )
    active.add(child)
    try:
        yield child
    finally:
        active.discard(child)
        below = _descendants(child.pid)  # the child may be gone before what it started
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if child.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_PATIENCE_S)
        for left in psutil.wait_procs(below, _PATIENCE_S)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        if child.stdout is not None:
            child.stdout.close()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
