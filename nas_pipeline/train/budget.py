"""How long a training lasts: given in epochs or in device seconds, always carried out in steps.

Seconds become steps once, by measurement, before the first step. From then on the training is a pure function of its
seed, and a resumed one ends where an undisturbed one ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas_pipeline.errors import ConfigError

_UPKEEP = 1.12
"""Optimiser, averaging, augmentation and evaluation on top of the passes (measured 1.08 to 1.15)."""


@dataclass(frozen=True, slots=True)
class TrainBudget:
    """Exactly one of the two is given."""

    epochs: float | None = None
    device_s: float | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.device_s is None):
            raise ConfigError("a training budget is given in epochs or in device_s: exactly one of them")
        if (self.epochs or self.device_s or 0) <= 0:
            raise ConfigError("a training budget must be positive")

    def steps(self, steps_per_epoch: int, seconds_per_step: float, saved: float = 0.0) -> int:
        """Number of optimiser steps, at least 1.

        `saved` is the share of the cost of a full step that steps save on average (low resolution at the start).
        """
        if self.epochs is not None:
            return max(1, round(self.epochs * steps_per_epoch))
        assert self.device_s is not None
        return max(1, int(self.device_s / (seconds_per_step * _UPKEEP * (1 - saved))))
