"""Operations without weights, whose output all edges from one state share: pooling with its batch norm."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_pipeline.search.differentiable.network.fused_node import measured_here


def shared_map(candidate: nn.Module, x: Tensor) -> Tensor:
    """Returns the output of `candidate` for x [N, C, H, W], with a faster average pool where that applies."""
    if isinstance(candidate, nn.Sequential) and measured_here([x]):
        for layer in candidate:
            x = _average(x, layer) if _is_average(layer) else layer(x)
        return x
    output: Tensor = candidate(x)
    return output


def _is_average(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.AvgPool2d) and not layer.count_include_pad and not layer.ceil_mode
        and all(isinstance(setting, int) for setting in (layer.kernel_size, layer.stride, layer.padding))
    )


def _average(x: Tensor, layer: nn.Module) -> Tensor:
    """Average pooling as a depthwise convolution with ones, divided by the number of pixels inside the map.

    The average pool of PyTorch works pixel by pixel, which is slow for few channels.
    """
    kernel, stride, padding = (cast(int, getattr(layer, name)) for name in ("kernel_size", "stride", "padding"))
    channels = x.shape[1]
    ones = x.new_ones(channels, 1, kernel, kernel)
    inside = F.avg_pool2d(x.new_ones(1, 1, *x.shape[2:]), kernel, stride, padding, divisor_override=1)
    share = inside.reciprocal().expand(1, channels, -1, -1).contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, ones, None, stride, padding, groups=channels) * share
