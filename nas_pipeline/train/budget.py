"""The length of a training: given in epochs or in device seconds, carried out in steps.

Seconds are converted to steps once, by a measurement before the first step. From then on the training is a function of
its seed, and a resumed training equals an uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas_pipeline.errors import ConfigError

_OVERHEAD = 1.12
"""Optimiser, averaging, augmentation and evaluation on top of the passes (measured 1.08 to 1.15)."""


@dataclass(frozen=True, slots=True)
class TrainBudget:
    """The length of a training, in one of two units: exactly one of the fields is set.

    Raises:
        ConfigError: Both or none is set, or the value is not positive.
    """

    epochs: float | None = None
    device_s: float | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.device_s is None):
            raise ConfigError("a training budget is given in epochs or in device_s: exactly one of them")
        if (self.epochs or self.device_s or 0) <= 0:
            raise ConfigError("a training budget must be positive")

    def steps(self, steps_per_epoch: int, seconds_per_step: float, saved: float = 0.0) -> int:
        """Returns the number of optimiser steps, at least 1.

        Args:
            steps_per_epoch: Batches of an epoch over all images.
            seconds_per_step: Device seconds of a forward and backward pass at full resolution.
            saved: Share of that cost which steps save on average (low resolution at the start).
        """
        if self.epochs is not None:
            return max(1, round(self.epochs * steps_per_epoch))
        assert self.device_s is not None
        return max(1, int(self.device_s / (seconds_per_step * _OVERHEAD * (1 - saved))))
