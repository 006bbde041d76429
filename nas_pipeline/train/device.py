"""Which device trains, and how its seconds are counted."""

from __future__ import annotations

import time

import torch
from torch import nn


def pick_device(name: str = "auto") -> torch.device:
    """`auto`: the GPU when there is one; otherwise the device of that name."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def on_device(net: nn.Module, device: torch.device) -> nn.Module:
    """`net` itself, moved to `device`, its convolutions in channels_last (1.2 to 1.5 times faster on CPUs)."""
    net.to(device)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


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
