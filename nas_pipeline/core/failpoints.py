"""Fail points: named points at which a test can kill this process or simulate a full disk.

NAS_FAIL_AT=NAME kills the process with SIGKILL at the point NAME. NAS_FAIL_AT=NAME:full raises the error of a full disk
there. Without the variable, the points do nothing.
"""

from __future__ import annotations

import errno
import os
import signal

VARIABLE = "NAS_FAIL_AT"


def reach(name: str) -> None:
    """Passes the fail point `name`.

    Raises:
        OSError: The variable requests a full disk at this point.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == f"{name}:full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
