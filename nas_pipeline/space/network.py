"""Parts that all networks share: batch norm, global pooling and linear classifier, map sizes, initialisation.

The classifier follows global pooling, which keeps a network small and independent of the image size.
"""

from __future__ import annotations

import math

import torch
from torch import nn

BATCH_NORM_MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics."""

MIN_MAP = 2
"""Smallest height and width of a feature map, in pixels: no stage shrinks a map below it."""

_LAST_LINEAR_STD = 0.01


class Network(nn.Module):
    """Features, global pooling, dropout, linear."""

    def __init__(
        self, features: nn.Module, channels: int, classes: int, pooling: str = "avg", dropout: float = 0.0
    ) -> None:
        """`features` gives [N, channels, h, w]; `pooling` is "avg" or "max"."""
        super().__init__()
        self.features = features
        self.pool = GlobalPool(pooling)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C, H, W] -> logits [N, classes]."""
        logits: torch.Tensor = self.classifier(self.dropout(self.pool(self.features(x))))
        return logits


class GlobalPool(nn.Module):
    """Mean or maximum over the feature map, as a reduction, which exports to one ONNX operator."""

    def __init__(self, kind: str = "avg") -> None:
        """`kind` is "avg" or "max"."""
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C, H, W] -> [N, C]."""
        return x.amax((2, 3)) if self.kind == "max" else x.mean((2, 3))


class MapSize:
    """Tracks the size of the feature map through a network and limits strides accordingly."""

    def __init__(self, height: int, width: int, smallest: int = MIN_MAP) -> None:
        """Start at `height` x `width` pixels; keep the map at least `smallest` high and wide."""
        self.height = height
        self.width = width
        self._smallest = smallest

    def shrink(self, stride: int) -> int:
        """Return `stride`, or 1 if it would make the map too small, and shrink the map accordingly (rounded up)."""
        side = min(self.height, self.width)
        if side == 1 or -(-side // stride) < self._smallest:
            return 1
        self.height = -(-self.height // stride)
        self.width = -(-self.width // stride)
        return stride


def batch_norm_of(channels: int, *, affine: bool = True) -> nn.BatchNorm2d:
    """Return the batch norm that all operations use.

    Without `affine` it has no scale and no shift, so that a weight in front of it is the only scale.
    """
    return nn.BatchNorm2d(channels, momentum=BATCH_NORM_MOMENTUM, affine=affine)


def initialise(net: nn.Module) -> None:
    """Initialise all convolutions and linear layers of `net`; batch norms stay as their block initialised them.

    Convolutions: normal with variance 2 / fan-out, where the fan-out is that of one group (torch's own function counts
    all groups, which makes depthwise weights sqrt(channels) too small). Linear layers: normal with a small standard
    deviation, so that the first logits are near zero.

    Source: He et al., Delving Deep into Rectifiers, arXiv:1502.01852, section 2.2.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * math.prod(module.kernel_size)
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=_LAST_LINEAR_STD)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
