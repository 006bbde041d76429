"""Every day: the fleet's timestamp is dated anew, and what else is past half of its time. Deployment `resign`.

Devices refuse what has expired, and go on with the model that they have. The flow needs the keys of timestamp and
snapshot, and no others; it fails loudly, days before anything expires.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.notify import alert, check_blocks
from flows.tasks import failed_state
from flows.worktree import repository
from nas_pipeline.errors import NasError

NO_FLEET = "there is no fleet here: `nas fleet init` makes one"


@flow(name="resign", persist_result=False, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
def resign(notify: list[str] | None = None, repo: str | None = None) -> State[Any]:
    """Date the fleet anew.

    Args:
        notify: Notification blocks, `TYPE/NAME`, that are told when it cannot be done.
        repo: The repository; default: NAS_REPO, else where the process runs.
    """
    from nas_pipeline.actions.fleet import has_fleet, resign_line  # these know MLflow: `make serve` need not

    try:
        check_blocks(notify or [])
        root = repository(Path(repo or os.environ.get("NAS_REPO") or "."))
        return Completed(message=resign_line(root) if has_fleet(root) else NO_FLEET)
    except NasError as error:
        return failed_state(error)
