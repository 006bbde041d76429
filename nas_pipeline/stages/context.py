"""What a stage is given, and where artefacts lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas_pipeline.config.params import Params
from nas_pipeline.core.records import TargetDevice
from nas_pipeline.train.recipe import Recipe

Progress = Callable[[float, float | None, float | None, str], None]
"""(done, in all, seconds left, line)"""


@dataclass(frozen=True, slots=True)
class Context:
    """One run of one stage."""

    root: Path
    params: Params
    target: TargetDevice | None
    folder: Path
    """artifacts/<stage>[/<target>]: the only place that the stage writes artefacts to."""
    progress: Progress

    def artefacts(self, stage: str, target: str | None = None) -> Path:
        """Folder of another stage's artefacts."""
        return self.root / "artifacts" / stage / (target or "")

    @property
    def work(self) -> Path:
        """Working state that survives a kill: never an artefact, keyed by content below."""
        return self.root / ".nas"

    @property
    def recipe(self) -> Recipe:
        """The training settings."""
        return self.params.train.as_recipe()

    def the_target(self) -> TargetDevice:
        """The target of a per-target stage."""
        assert self.target is not None, "only per-target stages ask for their target"
        return self.target
