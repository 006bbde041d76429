"""Every day: the fleet's timestamp is dated anew, and what else is past half of its time. Deployment `resign`.

Devices refuse what has expired, and go on with the model that they have. The flow needs the keys of timestamp and
snapshot, and no others; it fails loudly, days before anything expires.
"""

from __future__ import annotations

import os
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from nas_pipeline.steps.fleet import resign_line


@flow(name="resign", retries=3, retry_delay_seconds=600, log_prints=False)
def resign(repo: str = "") -> State[str]:
    """Date the fleet of the project at `repo` (default: NAS_REPO, else here) anew.

    Raises:
        NasError: A key is not at hand, or the store does not take a file or is not to be trusted.
    """
    root = Path(repo or os.environ.get("NAS_REPO", "")).resolve()
    return Completed(message=resign_line(root), data=str(root))
