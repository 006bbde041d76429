"""Flow `resign`, every day: renews the timestamp of the fleet, and other metadata past half of its validity.

Devices reject expired metadata, and continue with the model that they have. The flow needs the keys of timestamp and
snapshot only. It fails days before anything expires.
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

NO_FLEET = "there is no fleet in this repository: `nas fleet init` creates one"


@flow(name="resign", persist_result=False, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
def resign(notify: list[str] | None = None, repo: str | None = None) -> State[Any]:
    """Renew the fleet's metadata.

    Args:
        notify: Notification blocks, `TYPE/NAME`, that are notified when the flow fails.
        repo: The repository; default: NAS_REPO, else the current directory.
    """
    # Imported here: they import MLflow, which `make serve` does not need.
    from nas_pipeline.actions.fleet import has_fleet, renew_signatures

    try:
        check_blocks(notify or [])
        root = repository(Path(repo or os.environ.get("NAS_REPO") or "."))
        if not has_fleet(root):
            return Completed(message=NO_FLEET)
        return Completed(message=f"renewed: {', '.join(renew_signatures(root))}")
    except NasError as error:
        return failed_state(error)
