"""Exponential moving average of a network's parameters and buffers."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """Maintains `average`, a copy of a network with averaged parameters and buffers.

    The average usually classifies better than the network after its last step.

    Source: Polyak and Juditsky (1992); the ramp of the decay: Tarvainen and Valpola, arXiv:1703.01780.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        """Copies `net`.

        Args:
            net: The network to follow.
            decay: Per step, in [0, 1); 0 makes `average` equal to the network.
        """
        self.decay = decay
        self.average = copy.deepcopy(net).eval().requires_grad_(False)
        self._floats: list[torch.Tensor] = []
        self._integers: list[torch.Tensor] = []
        for tensor in self.average.state_dict().values():
            (self._floats if tensor.is_floating_point() else self._integers).append(tensor)

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Moves the average towards the network.

        Args:
            net: The network after the step; of the same structure as at construction.
            step: Number of the step, from 0. The decay is at most (1 + step) / (10 + step).
        """
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        state = net.state_dict().values()
        floats = [tensor for tensor in state if tensor.is_floating_point()]
        torch._foreach_lerp_(self._floats, floats, 1 - decay)
        integers = (tensor for tensor in state if not tensor.is_floating_point())
        for average, current in zip(self._integers, integers, strict=True):
            average.copy_(current)
