"""Shows the progress of a running stage: copies .nas/progress/STAGE.json into a Prefect progress artifact."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from nas_pipeline.core.files import read_json

logger = logging.getLogger(__name__)

_PERIOD_S = 3.0


@contextlib.contextmanager
def progress_shown(root: Path, stage: str) -> Iterator[None]:
    """Shows the progress of `stage` in Prefect during the block. Does nothing outside a task run."""
    if TaskRunContext.get() is None:
        yield
        return
    name = stage.replace("@", "-")
    path = root / ".nas" / "progress" / f"{name}.json"
    path.unlink(missing_ok=True)  # of an earlier run
    finished = threading.Event()
    watcher = threading.Thread(
        target=contextvars.copy_context().run, args=(_watch, path, f"{name}-progress".lower(), finished), daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _watch(path: Path, key: str, finished: threading.Event) -> None:
    artifact: UUID | None = None
    last_modified_ns = 0
    while not finished.wait(_PERIOD_S):
        try:
            modified_ns = path.stat().st_mtime_ns
            if modified_ns == last_modified_ns:
                continue
            last_modified_ns = modified_ns
            percent, message = _read_progress(path)
            if artifact is None:
                artifact = cast(UUID, create_progress_artifact(percent, key=key, description=message))
            else:
                update_progress_artifact(artifact, percent, description=message)
        except FileNotFoundError:
            continue  # the stage has not reported progress yet
        except Exception:  # the display of the progress must not stop the stage
            logger.warning("the progress of %s is no longer shown", path.stem, exc_info=True)
            return


def _read_progress(path: Path) -> tuple[float, str]:
    value = read_json(path)
    total = value.get("total") or 0
    percent = min(100.0, 100.0 * value.get("done", 0) / total) if total else 0.0
    remaining_s = value.get("eta_s")
    remaining = f" (about {remaining_s / 60:.1f} min left)" if isinstance(remaining_s, int | float) else ""
    return percent, f"{value.get('message', '')}{remaining}"
