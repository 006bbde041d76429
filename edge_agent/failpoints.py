"""Places where a test may cut the power or fill the disk. In use, they do nothing."""

from __future__ import annotations

import errno
import os
import signal
from typing import Final

STEPS: Final = ("refreshed", "checked", "part", "downloaded", "verified", "cleared", "moved", "staged", "probation",
                "passed", "flipped", "committed")
"""In the order of an installation."""
WRITES: Final = ("part", "cleared", "flip", "write:releases.json", "write:release.json", "write:state.json",
                 "write:outbox")
"""Where something goes to the disk."""


def reach(name: str) -> None:
    """Say that a place is reached: NAS_AGENT_FAIL_AT=name kills this process there, name:full fills its disk.

    Raises:
        OSError: ENOSPC, as a test wanted it.
    """
    wanted = os.environ.get("NAS_AGENT_FAIL_AT")
    if wanted == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == name + ":full":
        raise OSError(errno.ENOSPC, "No space left on device (a test wanted it)", name)
