"""STAGES: the table of stages. `dvc.yaml` is generated from it by `nas dvc-yaml`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from nas_pipeline.core.source_code import imported_modules

_INGESTED = ("dataset.json", "manifest.parquet", "train.npz", "val.npz", "calib.npz", "test.npz")


@dataclass(frozen=True, slots=True)
class Stage:
    """One row: the function, the parameters it receives, the files it reads and writes."""

    name: str
    run: str
    """`module:function` below nas_pipeline.stages; imported only when the stage runs."""
    params: tuple[str, ...]
    """Sections of params.yaml. The function receives each as a keyword argument of that name; `targets.{target}`, the
    bounds of one target, is the argument `target`."""
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    """Files below the project's folder; `{target}` stands for the target's name."""
    metrics: tuple[str, ...] = ()
    """Written too; DVC shows their figures."""
    per_target: bool = False
    note: str = ""
    """A comment in dvc.yaml."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Roots of the code that decides the stage's result: its function, and the schema of its parameters."""
        schema = {f"nas_pipeline.config.schema.{section.partition('.')[0]}" for section in self.params}
        return (f"nas_pipeline.stages.{self.run.partition(':')[0]}", *sorted(schema))

    def code(self) -> set[str]:
        """Returns the names of all modules that decide the stage's result."""
        return set(imported_modules(self.modules))

    def function(self) -> Callable[..., None]:
        """Imports and returns the stage's function: `(context, **sections)`."""
        module, _, name = self.run.partition(":")
        return cast(Callable[..., None], getattr(importlib.import_module(f"nas_pipeline.stages.{module}"), name))


def _files(stage: str, *names: str) -> tuple[str, ...]:
    return tuple(f"artifacts/{stage}/{name}" for name in names)


STAGES: dict[str, Stage] = {stage.name: stage for stage in (
    Stage(
        "ingest", "ingest:run_ingest", params=("data",), reads=(), writes=_files("ingest", *_INGESTED),
    ),
    Stage(
        "validate", "validate:run_validate", params=("validation",),
        reads=_files("ingest", "dataset.json", "manifest.parquet"),
        writes=_files("validate", "report.json", "data_docs/index.html"),
    ),
    Stage(
        "search", "search:run_search_stage", params=("search", "train", "targets"),
        reads=(*_files("ingest", "dataset.json", "train.npz", "val.npz"), *_files("validate", "report.json")),
        writes=_files("search", "trials.json", "winner.json", "derivations.json", "random_baseline.json"),
        metrics=_files("search", "metrics.json"),
        note="the test split is not among the files that it reads",
    ),
    Stage(
        "retrain", "retrain:run_retrain", params=("retrain", "train", "export", "targets"),
        reads=(*_files("ingest", *_INGESTED), *_files("search", "winner.json")),
        writes=_files("retrain", "result.json", "baselines.json", "history.json", "files.json", "predictions.npz",
                      "weights.safetensors", "drawing.svg", "drawing.png", "label_candidates.json",
                      "label_candidates.html"),
        metrics=_files("retrain", "metrics.json"),
        note="reads the test split once, after the choice",
    ),
    Stage(
        "export", "export:run_export", params=("export", "verify", "targets.{target}"),
        reads=(*_files("ingest", "dataset.json", "val.npz", "calib.npz"),
               *_files("retrain", "result.json", "files.json", "weights.safetensors")),
        writes=_files("export/{target}", "model.onnx", "bundle.json", "val_predictions.npz", "golden.npz",
                      "drift.json"),
        metrics=_files("export/{target}", "metrics.json"),
        per_target=True,
    ),
    Stage(
        "verify", "verify:run_verify", params=("export", "verify", "targets.{target}"),
        reads=(*_files("export/{target}", "model.onnx", "bundle.json"), *_files("validate", "report.json")),
        writes=_files("verify/{target}", "latency.json", "gates.json"),
        metrics=_files("verify/{target}", "metrics.json"),
        per_target=True,
        note="a red gate is an answer in gates.json, not a failure of the stage",
    ),
)}


def stage_folder(name: str) -> str:
    """Returns the folder of a stage's artefacts: `export@local-cpu` -> `artifacts/export/local-cpu`."""
    return "artifacts/" + name.replace("@", "/")
