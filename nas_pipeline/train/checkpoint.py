"""The state of a training at an evaluation point, written to a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import TrainError


@dataclass(slots=True)
class Checkpoint:
    """Everything that the steps after `step` depend on, and the history of the steps before."""

    key: str
    """Identity of the training; a checkpoint of another training is not resumed."""
    step: int
    total_steps: int
    autocast: str
    net: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    rng: torch.Tensor
    history: list[dict[str, float]]
    best: dict[str, torch.Tensor]
    best_accuracy: float
    best_epoch: float
    device_s: float
    epoch: int = 0
    """Number of the current epoch, from 0."""
    offset: int = 0
    """Steps of that epoch that are done."""
    losses: torch.Tensor | None = None
    """Last loss of each image, for InfoBatch."""
    subset: torch.Tensor | None = None
    """Indices of the images that the current epoch shows; None for all."""

    def save(self, path: Path) -> None:
        """Writes the checkpoint atomically."""
        with atomic_path(path) as temporary:
            torch.save(asdict(self), temporary)

    @classmethod
    def load(cls, path: Path, key: str) -> Checkpoint | None:
        """Returns the checkpoint in `path`; None if there is none or it belongs to another training.

        Args:
            path: The file; it may be absent.
            key: Identity of the training.

        Raises:
            TrainError: The file is damaged.
        """
        if not path.exists():
            return None
        try:
            checkpoint = cls(**torch.load(path, weights_only=True))
        except Exception as error:
            raise TrainError(
                f"checkpoint {path} cannot be read ({error}); delete it to start the training again"
            ) from error
        return checkpoint if checkpoint.key == key else None
