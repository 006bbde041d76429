"""The running stages' processes, so that a signal can end them even where the exception it raises gets lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

running: set[subprocess.Popen[str]] = set()
"""Each leads a process group of its own."""


def interrupt() -> None:
    """Send SIGINT to each running stage, as Ctrl-C would if it shared the terminal's group."""
    for child in tuple(running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)
