"""Named points at which a test may kill this process or fill its disk. Without the variable they do nothing.

NAS_FAIL_AT=NAME kills the process at the point, as a power cut would; NAS_FAIL_AT=NAME:full is a disk without space.
"""

from __future__ import annotations

import errno
import os
import signal

VARIABLE = "NAS_FAIL_AT"


def reach(name: str) -> None:
    """Pass the point `name`.

    Raises:
        OSError: The variable asks for a full disk here.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == f"{name}:full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
