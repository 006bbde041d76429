"""Maps that all edges from one state share: pools and their batch norm, which have no weights."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_pipeline.search.differentiable.network.fused_node import measured_here


def shared_map(candidate: nn.Module, x: Tensor) -> Tensor:
    """What `candidate` makes of x [N, C, H, W]."""
    if isinstance(candidate, nn.Sequential) and measured_here([x]):
        for layer in candidate:
            x = _average(x, layer) if _is_average(layer) else layer(x)
        return x
    made: Tensor = candidate(x)
    return made


def _is_average(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.AvgPool2d) and not layer.count_include_pad and not layer.ceil_mode
        and all(isinstance(setting, int) for setting in (layer.kernel_size, layer.stride, layer.padding))
    )


def _average(x: Tensor, layer: nn.Module) -> Tensor:
    """A depthwise convolution with ones, over the number of pixels inside the map.

    PyTorch's pool goes pixel by pixel where there are few channels.
    """
    kernel, stride, padding = (cast(int, getattr(layer, name)) for name in ("kernel_size", "stride", "padding"))
    channels = x.shape[1]
    ones = x.new_ones(channels, 1, kernel, kernel)
    inside = F.avg_pool2d(x.new_ones(1, 1, *x.shape[2:]), kernel, stride, padding, divisor_override=1)
    share = inside.reciprocal().expand(1, channels, -1, -1).contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, ones, None, stride, padding, groups=channels) * share
