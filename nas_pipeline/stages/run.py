"""Runs one stage: checks its inputs, passes its parameters, and leaves `error.json` when it fails.

No stage function imports this module, so an edit of it makes no stage stale.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas_pipeline.config.params import load_params
from nas_pipeline.config.schema.params import Params
from nas_pipeline.core.disk import storage_error
from nas_pipeline.core.files import write_json
from nas_pipeline.errors import ConfigError, DataError, NasError
from nas_pipeline.stages.context import Context, Progress
from nas_pipeline.stages.plug_in_names import check_names
from nas_pipeline.stages.table import STAGES, Stage, stage_folder

logger = logging.getLogger(__name__)

_PROGRESS_INTERVAL_S = 1.0
_REPORTED_SHARE = 0.1


def run_stage(name: str, root: Path, say: Callable[[str], None] = lambda line: None) -> None:
    """Runs one stage in the project at `root`.

    A stage that fails leaves `error.json` in its folder: DVC hides the exit status of its child, and the flow needs
    the type of the error.

    Args:
        name: `search`, or `export@TARGET` for a per-target stage.
        root: Folder of the project.
        say: Called with a short line at every tenth of the way.

    Raises:
        NasError: The stage failed; ConfigError for an unknown stage, target or plug-in.
    """
    _check_name(name)
    folder = root / stage_folder(name)
    start = time.monotonic()
    try:
        (folder / "error.json").unlink(missing_ok=True)
        stage, context, sections = _prepare(name, root, folder, say)
        logger.info("%s starts", name)
        stage.function()(context, **sections)
    except NasError as error:
        _write_error(folder, error)
        raise
    except Exception as error:
        if (known := storage_error(error, folder)) is None:
            raise
        _write_error(folder, known)
        raise known from error
    logger.info("%s done in %.1f s", name, time.monotonic() - start)


def _write_error(folder: Path, error: NasError) -> None:
    # If even this small file cannot be written, the terminal still shows the message.
    with contextlib.suppress(OSError):
        write_json(folder / "error.json", {"type": type(error).__name__, "message": str(error)})


def _check_name(name: str) -> None:
    """Checks the stage's name before a folder of that name is touched."""
    stage, _, target = name.partition("@")
    if stage not in STAGES:
        raise ConfigError(f"unknown stage {stage!r}; there are: {', '.join(STAGES)}")
    if Path(target).name != target:
        raise ConfigError(f"unknown target {target!r}: a target's name has no slashes")


def _prepare(
    name: str, root: Path, folder: Path, say: Callable[[str], None]
) -> tuple[Stage, Context, dict[str, Any]]:
    stage_name, _, target = name.partition("@")
    stage, params = STAGES[stage_name], load_params(root)
    if stage.per_target != bool(target):
        known = ", ".join(f"{stage_name}@{each}" for each in params.targets)
        raise ConfigError(
            f"stage {stage_name} {f'runs per target: {known}' if stage.per_target else 'has no targets'}"
        )
    if target and target not in params.targets:
        raise ConfigError(f"unknown target {target!r}; params.yaml has: {', '.join(params.targets)}")
    check_names(params)
    missing = [path for path in stage.reads if not (root / path.format(target=target)).exists()]
    if missing:
        raise DataError(f"stage {name} reads {missing[0].format(target=target)}, which is not there; run the stages "
                        "before it (`make repro` runs what is needed)")
    context = Context(root, folder, _progress(name, root, say), stage.modules, target)
    return stage, context, sections_of(stage, params, target)


def sections_of(stage: Stage, params: Params, target: str = "") -> dict[str, Any]:
    """Returns the keyword arguments of a stage's function: the sections of params.yaml that its row names."""
    return {
        **{section: getattr(params, section) for section in stage.params if "." not in section},
        **({"target": params.targets[target]} if "targets.{target}" in stage.params else {}),
    }


def _progress(name: str, root: Path, say: Callable[[str], None]) -> Progress:
    """Returns a callback that writes .nas/progress/STAGE.json, and calls `say` at every tenth of the way."""
    path = root / ".nas" / "progress" / f"{name.replace('@', '-')}.json"
    last = {"share": -1.0, "time": 0.0}

    def update(done: float, total: float | None, left_s: float | None, line: str) -> None:
        now = time.monotonic()
        if now - last["time"] < _PROGRESS_INTERVAL_S and done != total:
            return
        last["time"] = now
        write_json(path, {"stage": name, "done": done, "total": total, "eta_s": left_s, "message": line})
        share = done / total if total else 0.0
        if total and share - last["share"] >= _REPORTED_SHARE:
            last["share"] = share
            rest = f", about {left_s / 60:.1f} min left" if left_s is not None else ""
            say(f"{name} {100 * share:.0f} %{rest}")

    return update
