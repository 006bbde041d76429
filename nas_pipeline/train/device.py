"""Which device trains, and how its seconds are counted."""

from __future__ import annotations

import time

import torch


def pick_device(name: str = "auto") -> torch.device:
    """`auto`: the GPU when there is one; otherwise the device of that name."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


class DeviceClock:
    """Seconds that a training has cost its device.

    On a CPU it counts this process's CPU seconds, so that a busy machine does not shorten a budget; a training uses
    one thread unless told otherwise. On a GPU it counts wall seconds, after the queue has run dry.
    """

    def __init__(self, device: torch.device, already_s: float = 0.0) -> None:
        self._device = device
        self._start = self._now() - already_s

    def seconds(self) -> float:
        """Device seconds since the start, those of earlier, interrupted runs included."""
        return self._now() - self._start

    def _now(self) -> float:
        if self._device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self._device)
        return time.perf_counter()
