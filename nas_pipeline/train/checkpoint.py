"""The state of a training at an evaluation point: everything that the next step depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import TrainError


@dataclass(slots=True)
class Checkpoint:
    """Weights, average, optimiser, random state and history after `step` steps."""

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
    """Number of the running pass."""
    offset: int = 0
    """Steps of that pass that are done."""
    losses: torch.Tensor | None = None
    """Last loss per image."""
    kept: torch.Tensor | None = None
    """What the running pass shows; None for all."""

    def save(self, path: Path) -> None:
        """Write atomically."""
        with atomic_path(path) as temporary:
            torch.save(asdict(self), temporary)

    @classmethod
    def load(cls, path: Path, key: str) -> Checkpoint | None:
        """The checkpoint in `path`, or None when there is none or it belongs to another training.

        Raises:
            TrainError: The file is damaged.
        """
        if not path.exists():
            return None
        try:
            checkpoint = cls(**torch.load(path, weights_only=True))
        except Exception as error:
            raise TrainError(f"checkpoint {path} cannot be read ({error}); delete it to train anew") from error
        return checkpoint if checkpoint.key == key else None
