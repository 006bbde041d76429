"""What every stage function receives: where its project is, where it writes, and how it reports progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas_pipeline.core.source_code import code_version

Progress = Callable[[float, float | None, float | None, str], None]
"""Called with (units done, units in all, seconds left, one line of text)."""


@dataclass(frozen=True, slots=True)
class Context:
    """One run of one stage.

    The parameters are not part of it: a stage function receives the sections that its row of the table names, as
    keyword arguments. So it cannot read a parameter that DVC does not track for it.
    """

    root: Path
    """Folder of the project."""
    folder: Path
    """`artifacts/STAGE[/TARGET]`: the only folder that the stage writes artefacts to."""
    progress: Progress
    modules: tuple[str, ...]
    """Roots of the code that computes the stage; see `Stage.modules`."""
    target: str = ""
    """Name of the target of a per-target stage."""

    def artefacts(self, stage: str, target: str = "") -> Path:
        """Returns the folder of another stage's artefacts."""
        return self.root / "artifacts" / stage / target

    @property
    def work(self) -> Path:
        """Folder of working state that survives a kill: no artefacts, keyed by content below."""
        return self.root / ".nas"

    def code_version(self) -> str:
        """Returns the version of the code that computes the stage, a part of the key of its working state."""
        return code_version(self.modules)
