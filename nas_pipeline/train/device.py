"""The device of a training, and a clock of the seconds it spends there."""

from __future__ import annotations

import time

import torch
from torch import nn


def pick_device(name: str = "auto") -> torch.device:
    """Returns the device of that name; `auto` is the GPU if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def on_device(net: nn.Module, device: torch.device) -> nn.Module:
    """Moves `net` to `device` in place, with its convolutions in channels_last, and returns it.

    channels_last is 1.2 to 1.5 times faster on CPUs.
    """
    net.to(device)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


class DeviceClock:
    """Counts the device seconds of a training.

    On a CPU these are the CPU seconds of this process, so that other load on the machine does not shorten a budget; a
    worker process uses one thread. On a GPU they are wall seconds, taken after all queued work has completed.
    """

    def __init__(self, device: torch.device, already_s: float = 0.0) -> None:
        """Starts the clock at `already_s` seconds, those of earlier, interrupted runs."""
        self._device = device
        self._start = self._now() - already_s

    def seconds(self) -> float:
        """Returns the device seconds so far, those of earlier, interrupted runs included."""
        return self._now() - self._start

    def _now(self) -> float:
        if self._device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self._device)
        return time.perf_counter()
