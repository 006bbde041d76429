"""Shows how far a running stage is: copies .nas/progress/STAGE.json into a Prefect progress artifact now and then."""

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
    """A block during which the stage's progress shows in Prefect; outside a task run it shows nowhere."""
    if TaskRunContext.get() is None:
        yield
        return
    name = stage.replace("@", "-")
    path = root / ".nas" / "progress" / f"{name}.json"
    path.unlink(missing_ok=True)  # what an earlier run left
    over = threading.Event()
    watcher = threading.Thread(
        target=contextvars.copy_context().run, args=(_watch, path, f"{name}-progress".lower(), over), daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(path: Path, key: str, over: threading.Event) -> None:
    artifact: UUID | None = None
    seen = 0
    while not over.wait(_PERIOD_S):
        try:
            written = path.stat().st_mtime_ns
            if written == seen:
                continue
            seen = written
            percent, message = _reading(path)
            if artifact is None:
                artifact = cast(UUID, create_progress_artifact(percent, key=key, description=message))
            else:
                update_progress_artifact(artifact, percent, description=message)
        except FileNotFoundError:
            continue  # the stage has not said anything yet
        except Exception:  # a picture of the progress is no reason to stop the stage
            logger.warning("the progress of %s is not shown any more", path.stem, exc_info=True)
            return


def _reading(path: Path) -> tuple[float, str]:
    value = read_json(path)
    total = value.get("total") or 0
    percent = min(100.0, 100.0 * value.get("done", 0) / total) if total else 0.0
    left = value.get("eta_s")
    rest = f" (about {left / 60:.1f} min left)" if isinstance(left, int | float) else ""
    return percent, f"{value.get('message', '')}{rest}"
