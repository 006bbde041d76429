"""The states of a cell, and what several edges and the next cells need of them: each is made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_pipeline.space.cell_ops import FactorizedReduce, ReluConvBn


class CellState:
    """One state, [N, C, H, W], and maps made of it."""

    def __init__(self, whole: Tensor, partial: int = 1) -> None:
        """The first 1 / `partial` of the channels pass through the candidates."""
        self.whole = whole
        self._partial = partial
        channels = whole.shape[1] // partial
        self.seen = whole if partial == 1 else whole[:, :channels].contiguous(memory_format=torch.channels_last)
        self.rest = whole[:, channels:]
        self._made: dict[str, Tensor] = {}

    def once(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """The map `key` of this state."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def rectified(self, step: int = 1, first: int = 0) -> Tensor:
        """The positive part of what is seen; of that every `step`-th row and column, from `first` on."""
        positive = self.once("positive", lambda: F.relu(self.seen))
        if step == 1:
            return positive
        return self.once(f"positive {step} {first}", lambda: every(positive, step, first))

    def rectified_whole(self) -> Tensor:
        """The positive part of all channels."""
        return self.rectified() if self._partial == 1 else F.relu(self.whole)


def every(x: Tensor, step: int, first: int = 0) -> Tensor:
    """Every `step`-th row and column from `first` on, as many as there are from 0 on; zeros where the map has ended."""
    short = [-(-size // step) - len(range(first, size, step)) for size in x.shape[2:]]
    taken = x[:, :, first::step, first::step]
    if any(short):
        taken = F.pad(taken, (0, short[1], 0, short[0]))
    return taken.contiguous(memory_format=torch.channels_last)


def rectified_output(nodes: Sequence[CellState]) -> Tensor:
    """A cell's output as the next two cells use it, for both begin with a ReLU: the positive parts, side by side."""
    return torch.cat([node.rectified_whole() for node in nodes], dim=1)


def preprocessed(layer: nn.Module, rectified: Tensor) -> Tensor:
    """What `layer`, `ReluConvBn` or `FactorizedReduce`, makes of a map whose positive part is `rectified`."""
    if isinstance(layer, FactorizedReduce):
        return halved(layer, every(rectified, 2), every(rectified, 2, first=1))
    assert isinstance(layer, ReluConvBn)
    for part in list(layer)[1:]:
        rectified = part(rectified)
    return rectified


def halved(layer: FactorizedReduce, even: Tensor, odd: Tensor) -> Tensor:
    """What `layer` makes of a map of whose positive part every second pixel is in `even` and `odd`."""
    made: Tensor = layer.norm(torch.cat((F.conv2d(even, layer.even.weight), F.conv2d(odd, layer.odd.weight)), dim=1))
    return made
