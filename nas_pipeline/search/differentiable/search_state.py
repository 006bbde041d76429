"""The state of a search after each epoch, in files that are written atomically; the last one is resumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import SearchError
from nas_pipeline.search.differentiable.guards import EpochRow


@dataclass(slots=True)
class SearchState:
    """Everything that the next epoch depends on. Random streams are named, so they have no state."""

    epochs_done: int
    bilevel: dict[str, Any]
    """Result of `steps.Bilevel.state`."""
    rows: list[EpochRow] = field(default_factory=list)
    """One per epoch."""
    decisions: list[EpochRow] = field(default_factory=list)
    """One per action of a guard."""
    failures: int = 0
    """Number of epochs that were rolled back because a loss was not finite."""
    device_s: float = 0.0


class SearchStateFiles:
    """The files epoch-NNNN.pt in the folder of one search."""

    def __init__(self, folder: Path, retained: int) -> None:
        """`retained` is the number of epochs whose files are not removed, the last ones."""
        self._folder, self._retained = folder, retained

    def save(self, state: SearchState) -> None:
        """Writes the state, then removes files that are too old."""
        with atomic_path(self._path(state.epochs_done)) as temporary:
            torch.save(asdict(state), temporary)
        for old in self._paths()[: -self._retained]:
            old.unlink()

    def last(self) -> SearchState | None:
        """Returns the newest state; None before the first epoch.

        Raises:
            SearchError: The file is damaged.
        """
        paths = self._paths()
        return self._read(paths[-1]) if paths else None

    def after(self, epoch: int) -> SearchState | None:
        """Returns the state after `epoch`, counted from 0; None if its file was removed."""
        path = self._path(epoch + 1)
        return self._read(path) if path.exists() else None

    def clear(self) -> None:
        """Removes all files, at the end of the search."""
        for path in self._paths():
            path.unlink()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.pt"))

    def _path(self, epochs_done: int) -> Path:
        return self._folder / f"epoch-{epochs_done:04d}.pt"

    def _read(self, path: Path) -> SearchState:
        try:
            return SearchState(**torch.load(path, weights_only=True))
        except Exception as error:  # torch raises many types for a damaged file
            raise SearchError(f"{path} cannot be read ({error}); delete its folder to search again") from error
