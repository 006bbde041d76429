"""The state of a search after an epoch, one file each, whole or absent: a killed search goes on from the last one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import SearchError

EpochRow = dict[str, Any]


@dataclass(slots=True)
class SearchState:
    """What the next epoch depends on. Random streams come from names, so they have no state."""

    epochs_done: int
    bilevel: dict[str, Any]
    """Of `steps.Bilevel`."""
    rows: list[EpochRow] = field(default_factory=list)
    """One an epoch."""
    decisions: list[EpochRow] = field(default_factory=list)
    """One for everything a guard did."""
    failures: int = 0
    """Epochs that were rolled back because a loss was not finite."""
    device_s: float = 0.0


class SearchStateFiles:
    """epoch-NNNN.pt in a folder that belongs to one search."""

    def __init__(self, folder: Path, keep: int) -> None:
        """The last `keep` epochs stay."""
        self._folder, self._keep = folder, keep

    def save(self, progress: SearchState) -> None:
        """Write it, then remove what is too old."""
        with atomic_path(self._path(progress.epochs_done)) as temporary:
            torch.save(asdict(progress), temporary)
        for old in self._paths()[: -self._keep]:
            old.unlink()

    def last(self) -> SearchState | None:
        """The newest, or None at the start.

        Raises:
            SearchError: The file is damaged.
        """
        paths = self._paths()
        return self._read(paths[-1]) if paths else None

    def after(self, epoch: int) -> SearchState | None:
        """The state after `epoch`, counted from 0; None if it is no longer kept."""
        path = self._path(epoch + 1)
        return self._read(path) if path.exists() else None

    def clear(self) -> None:
        """Remove them all: the search is over."""
        for path in self._paths():
            path.unlink()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.pt"))

    def _path(self, epochs_done: int) -> Path:
        return self._folder / f"epoch-{epochs_done:04d}.pt"

    def _read(self, path: Path) -> SearchState:
        try:
            return SearchState(**torch.load(path, weights_only=True))
        except Exception as error:  # whatever torch makes of a damaged file
            raise SearchError(f"{path} cannot be read ({error}); delete its folder to search anew") from error
