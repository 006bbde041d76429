"""Child processes that are ended with all of their descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from flows.environment import with_interpreter_scripts

_EXIT_TIMEOUT_S = 10.0
"""Time that a child has to exit after a signal before the next, stronger one."""

active: set[subprocess.Popen[str]] = set()
"""The running children. A signal handler ends them, in case the exception that it raises is swallowed."""


def interrupt() -> None:
    """Sends SIGINT to the process group of each running child, which does not receive the terminal's Ctrl-C."""
    for child in tuple(active):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, changed: Mapping[str, str] | None = None, dropped: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Starts a child in its own process group and ends it after the block. Its `stdout` includes stderr.

    Args:
        command: Program and arguments.
        folder: Its working directory.
        changed: Environment variables that are added or replaced.
        dropped: Prefixes of the names of environment variables that are removed.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(tuple(dropped))}
    variables = with_interpreter_scripts({**inherited, "PYTHONUNBUFFERED": "1", **(changed or {})})
    child = subprocess.Popen(
        command, cwd=folder, env=variables, text=True, bufsize=1, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )
    active.add(child)
    try:
        yield child
    finally:
        active.discard(child)
        descendants = _descendants(child.pid)  # before the child exits: afterwards they are no longer its children
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if child.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_EXIT_TIMEOUT_S)
        for survivor in psutil.wait_procs(descendants, _EXIT_TIMEOUT_S)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                survivor.kill()
        if child.stdout is not None:
            child.stdout.close()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
