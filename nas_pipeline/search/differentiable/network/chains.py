"""Detection of candidates that are chains of (ReLU, depthwise convolution, 1x1 convolution, batch norm).

`fused_node.py` computes such chains; every other candidate is called as a module.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from nas_pipeline.space.depthwise import DepthwiseConv2d


@dataclass(frozen=True, slots=True)
class Unit:
    """A depthwise convolution, a 1x1 convolution and a batch norm that is not affine, after a ReLU."""

    kernel: int
    stride: int
    dilation: int
    eps: float


@dataclass(frozen=True, slots=True)
class Chain:
    """A sequence of units, and the layers that hold their weights: depthwise and 1x1 of each unit.

    The layers are stored, not the weights, because `torch.func.functional_call` replaces the weights.
    """

    units: tuple[Unit, ...]
    layers: tuple[nn.Conv2d, ...]


def chain_of(candidate: nn.Module) -> Chain | None:
    """Returns the structure of `candidate` if it is a chain, else None."""
    parts = list(candidate) if isinstance(candidate, nn.Sequential) else []
    if not parts or len(parts) % 4:
        return None
    units: list[Unit] = []
    layers: list[nn.Conv2d] = []
    for first in range(0, len(parts), 4):
        relu, depthwise, pointwise, norm = parts[first:first + 4]
        if not (
            isinstance(relu, nn.ReLU) and isinstance(depthwise, DepthwiseConv2d)
            and isinstance(pointwise, nn.Conv2d) and _is_square(pointwise)
            and isinstance(norm, nn.BatchNorm2d) and not norm.affine and not norm.track_running_stats
        ):
            return None
        units.append(Unit(depthwise.kernel_size[0], depthwise.stride[0], depthwise.dilation[0], norm.eps))
        layers += [depthwise, pointwise]
    if any(unit.stride > 1 for unit in units[1:]):
        return None
    return Chain(tuple(units), tuple(layers))


def _is_square(layer: nn.Conv2d) -> bool:
    return (
        layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.padding == (0, 0) and layer.groups == 1
        and layer.bias is None and layer.in_channels == layer.out_channels
    )
