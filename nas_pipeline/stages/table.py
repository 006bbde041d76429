"""STAGES: the table of stages, and how one is run. dvc.yaml states the edges; a contract test holds them together."""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from nas_pipeline.config.params import load_params
from nas_pipeline.core.disk import storage_error
from nas_pipeline.core.files import write_json
from nas_pipeline.errors import ConfigError, DataError, NasError
from nas_pipeline.stages.context import Context, Progress

logger = logging.getLogger(__name__)

_INGESTED = ("dataset.json", "manifest.parquet", "train.npz", "val.npz", "calib.npz", "test.npz")


@dataclass(frozen=True, slots=True)
class Stage:
    """One row: what it runs, which knobs it depends on, what it reads and writes, which code makes it stale."""

    name: str
    run: str
    """`module:function` below nas_pipeline.stages; imported only when the stage runs."""
    params: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    code: tuple[str, ...]
    """Packages of nas_pipeline; `core` and `steps` count for every stage."""
    per_target: bool = False

    def function(self) -> Callable[[Context], None]:
        """The stage's function."""
        module, name = self.run.split(":")
        return cast(Callable[[Context], None], getattr(importlib.import_module(f"nas_pipeline.stages.{module}"), name))


def _files(stage: str, *names: str) -> tuple[str, ...]:
    return tuple(f"artifacts/{stage}/{name}" for name in names)


STAGES: dict[str, Stage] = {stage.name: stage for stage in (
    Stage(
        "ingest", "data:run_ingest", params=("data",), reads=(), writes=_files("ingest", *_INGESTED), code=("data",),
    ),
    Stage(
        "validate", "data:run_validate", params=("validation",),
        reads=_files("ingest", "dataset.json", "manifest.parquet"),
        writes=_files("validate", "report.json", "data_docs/index.html"), code=("data",),
    ),
    Stage(
        "search", "search:run_search_stage", params=("search", "train", "targets"),
        reads=(*_files("ingest", "dataset.json", "train.npz", "val.npz"), *_files("validate", "report.json")),
        writes=_files("search", "trials.json", "winner.json", "derivations.json", "random_baseline.json",
                      "metrics.json"),
        code=("data", "space", "train", "search", "export", "latency"),
    ),
    Stage(
        "retrain", "retrain:run_retrain", params=("retrain", "train", "export", "targets"),
        reads=(*_files("ingest", "dataset.json", "manifest.parquet", "train.npz", "val.npz", "calib.npz", "test.npz"),
               *_files("search", "winner.json")),
        writes=_files("retrain", "result.json", "baselines.json", "history.json", "files.json", "predictions.npz",
                      "weights.safetensors", "drawing.svg", "drawing.png", "label_candidates.json",
                      "label_candidates.html", "metrics.json"),
        code=("data", "space", "train", "export"),
    ),
    Stage(
        "export", "delivery:run_export", params=("export", "verify", "targets.{target}"),
        reads=(*_files("ingest", "dataset.json", "val.npz", "calib.npz"),
               *_files("retrain", "result.json", "files.json", "weights.safetensors")),
        writes=_files("export/{target}", "model.onnx", "bundle.json", "val_predictions.npz", "golden.npz", "drift.json",
                      "metrics.json"),
        code=("data", "space", "train", "export", "latency"), per_target=True,
    ),
    Stage(
        "verify", "delivery:run_verify", params=("export", "verify", "targets.{target}"),
        reads=(*_files("export/{target}", "model.onnx", "bundle.json"), *_files("validate", "report.json")),
        writes=_files("verify/{target}", "latency.json", "gates.json", "metrics.json"),
        code=("gates", "export", "latency"), per_target=True,
    ),
)}


def stage_folder(name: str) -> str:
    """`export@local-cpu` -> `artifacts/export/local-cpu`."""
    return "artifacts/" + name.replace("@", "/")


def run_stage(name: str, root: Path, say: Callable[[str], None] = lambda line: None) -> None:
    """Run one stage in the project at `root`.

    A stage that fails leaves `error.json` in its folder: DVC hides a child's exit status, and the flow has to know.

    Args:
        name: `search`, or `export@TARGET` for a per-target stage.
        root: The project's folder.
        say: Gets a short line now and then while the stage works.

    Raises:
        NasError: What went wrong; ConfigError for an unknown stage or target.
    """
    _check_name(name)
    folder = root / stage_folder(name)
    start = time.monotonic()
    try:
        (folder / "error.json").unlink(missing_ok=True)
        stage, context = _resolve(name, root, folder, say)
        logger.info("%s starts", name)
        stage.function()(context)
    except NasError as error:
        _leave(folder, error)
        raise
    except Exception as error:
        if (known := storage_error(error, folder)) is None:
            raise
        _leave(folder, known)
        raise known from error
    logger.info("%s done in %.1f s", name, time.monotonic() - start)


def _leave(folder: Path, error: NasError) -> None:
    # Where even this small file cannot be written, the terminal still gets the message.
    with contextlib.suppress(OSError):
        write_json(folder / "error.json", {"type": type(error).__name__, "message": str(error)})


def _check_name(name: str) -> None:
    """Before a folder of that name is touched."""
    kind, _, target = name.partition("@")
    if kind not in STAGES:
        raise ConfigError(f"unknown stage {kind!r}; there are: {', '.join(STAGES)}")
    if Path(target).name != target:
        raise ConfigError(f"unknown target {target!r}: it is no name")


def _resolve(name: str, root: Path, folder: Path, say: Callable[[str], None]) -> tuple[Stage, Context]:
    kind, _, target = name.partition("@")
    stage, params = STAGES[kind], load_params(root)
    if stage.per_target != bool(target):
        known = ", ".join(f"{kind}@{each}" for each in params.targets)
        raise ConfigError(f"stage {kind} {f'runs per target: {known}' if stage.per_target else 'has no targets'}")
    if target and target not in params.targets:
        raise ConfigError(f"unknown target {target!r}; params.yaml has: {', '.join(params.targets)}")
    missing = [path for path in stage.reads if not (root / path.format(target=target)).exists()]
    if missing:
        raise DataError(f"stage {name} reads {missing[0].format(target=target)}, which is not there; run the stages "
                        "before it (`make repro` runs what is needed)")
    device = params.targets[target].device(target) if target else None
    return stage, Context(root, params, device, folder, _progress(name, root, say))


def _progress(name: str, root: Path, say: Callable[[str], None]) -> Progress:
    """Writes .nas/progress/<stage>.json for whoever watches, and says a line at every tenth of the way."""
    path = root / ".nas" / "progress" / f"{name.replace('@', '-')}.json"
    said = {"share": -1.0, "time": 0.0}

    def update(done: float, total: float | None, left_s: float | None, line: str) -> None:
        now = time.monotonic()
        if now - said["time"] < 1.0 and done != total:
            return
        said["time"] = now
        write_json(path, {"stage": name, "done": done, "total": total, "eta_s": left_s, "message": line})
        share = done / total if total else 0.0
        if total and share - said["share"] >= 0.1:
            said["share"] = share
            rest = f", about {left_s / 60:.1f} min left" if left_s is not None else ""
            say(f"{name} {100 * share:.0f} %{rest}")

    return update


