"""The batch norm of every operation."""

from __future__ import annotations

from torch import nn

BATCH_NORM_MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics."""


def batch_norm_of(channels: int, *, affine: bool = True) -> nn.BatchNorm2d:
    """Without `affine` it has no scale and no shift of its own, so a weight in front of it is the only scale."""
    return nn.BatchNorm2d(channels, momentum=BATCH_NORM_MOMENTUM, affine=affine)
