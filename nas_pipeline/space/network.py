"""What all networks share: features, global pooling, one linear layer; how maps shrink; how weights start.

Global pooling, never a wide fully connected head: it keeps a network small and free of the image size.
"""

from __future__ import annotations

import math

import torch
from torch import nn

BATCH_NORM_MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics."""

MIN_MAP = 2
"""Height and width, in pixels, under which no stage shrinks a feature map."""

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
    """Mean or maximum over the map, written as a reduction because that is what exports cleanly."""

    def __init__(self, kind: str = "avg") -> None:
        """`kind` is "avg" or "max"."""
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C, H, W] -> [N, C]."""
        return x.amax((2, 3)) if self.kind == "max" else x.mean((2, 3))


class MapSize:
    """Follows the size of the feature map through a network and says which strides are legal."""

    def __init__(self, height: int, width: int, smallest: int = MIN_MAP) -> None:
        """Start at `height` x `width` pixels; keep the map at least `smallest` high and wide."""
        self.height = height
        self.width = width
        self._smallest = smallest

    def shrink(self, stride: int) -> int:
        """`stride`, or 1 where it would make the map too small; the map shrinks accordingly (rounded up)."""
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
    """Start all convolutions and linear layers of `net`; batch norms keep what their block gave them.

    Convolutions: normal with variance 2 / fan-out, where the fan-out counts one group (torch's own counts all, which
    would start a depthwise convolution sqrt(channels) too small). Linear layers: normal, small, so that the
    first logits are near zero.

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
