"""The states of a cell, with the maps that several edges and the next cells derive from them, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_pipeline.space.cell_ops import FactorizedReduce, ReluConvBn


class CellState:
    """One state, [N, C, H, W], and cached maps that are computed from it."""

    def __init__(self, whole: Tensor, partial: int = 1) -> None:
        """Wraps a map.

        Args:
            whole: [N, C, H, W].
            partial: The first 1 / partial of the channels pass through the candidates.
        """
        self.whole = whole
        self._partial = partial
        channels = whole.shape[1] // partial
        self.processed = whole if partial == 1 else whole[:, :channels].contiguous(memory_format=torch.channels_last)
        self.rest = whole[:, channels:]
        self._maps: dict[str, Tensor] = {}

    def once(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """Returns the cached map `key`, computed by `make` at the first call."""
        if key not in self._maps:
            self._maps[key] = make()
        return self._maps[key]

    def rectified(self, step: int = 1, first: int = 0) -> Tensor:
        """Returns the rectified channels that candidates process: every `step`-th row and column, from `first`."""
        positive = self.once("positive", lambda: F.relu(self.processed))
        if step == 1:
            return positive
        return self.once(f"positive {step} {first}", lambda: every(positive, step, first))

    def rectified_whole(self) -> Tensor:
        """Returns all channels, rectified."""
        return self.rectified() if self._partial == 1 else F.relu(self.whole)


def every(x: Tensor, step: int, first: int = 0) -> Tensor:
    """Returns every `step`-th row and column of x from `first`, as many as from 0; zeros beyond the end of the map."""
    short = [-(-size // step) - len(range(first, size, step)) for size in x.shape[2:]]
    strided = x[:, :, first::step, first::step]
    if any(short):
        strided = F.pad(strided, (0, short[1], 0, short[0]))
    return strided.contiguous(memory_format=torch.channels_last)


def rectified_output(nodes: Sequence[CellState]) -> Tensor:
    """Returns the output of a cell, rectified, because the next two cells both begin with a ReLU."""
    return torch.cat([node.rectified_whole() for node in nodes], dim=1)


def preprocessed(layer: nn.Module, rectified: Tensor) -> Tensor:
    """Returns the output of `layer` (`ReluConvBn` or `FactorizedReduce`) for a map whose rectified form is given."""
    if isinstance(layer, FactorizedReduce):
        return halved(layer, every(rectified, 2), every(rectified, 2, first=1))
    assert isinstance(layer, ReluConvBn)
    for part in list(layer)[1:]:
        rectified = part(rectified)
    return rectified


def halved(layer: FactorizedReduce, even: Tensor, odd: Tensor) -> Tensor:
    """Returns the output of `layer` for a rectified map whose even and odd pixels are `even` and `odd`."""
    output: Tensor = layer.norm(torch.cat((F.conv2d(even, layer.even.weight), F.conv2d(odd, layer.odd.weight)), dim=1))
    return output
