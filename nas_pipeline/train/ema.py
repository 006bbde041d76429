"""A moving average of a network's weights and statistics: a better network than the last step's."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """Keeps `average`, a copy of the network with averaged parameters and buffers.

    Source: Polyak and Juditsky (1992); the ramp of the decay as in Tarvainen, arXiv:1703.01780.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        """`decay` is per step; 0 makes `average` follow the network."""
        self.decay = decay
        self.average = copy.deepcopy(net).eval().requires_grad_(False)
        self._floats: list[torch.Tensor] = []
        self._others: list[torch.Tensor] = []
        for tensor in self.average.state_dict().values():
            (self._floats if tensor.is_floating_point() else self._others).append(tensor)

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move the average towards the network after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        state = net.state_dict().values()
        floats = [tensor for tensor in state if tensor.is_floating_point()]
        torch._foreach_lerp_(self._floats, floats, 1 - decay)
        for mine, theirs in zip(self._others, (t for t in state if not t.is_floating_point()), strict=True):
            mine.copy_(theirs)
