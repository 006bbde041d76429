"""Batch norm without running statistics, in channels_last: forward and backward, without a graph of autograd.

PyTorch works pixel by pixel, which is six times slower than necessary where a pixel has few channels (PC-DARTS: 4).
There whole rows of pixels are processed at once: a map is [N * H, W * C], and statistics of a channel are repeated W
times.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FEW = 8
"""Up to this number of channels rows are faster; measured for float32 maps of 32x32 and 16x16 pixels."""


def normalise(y: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises y [N, C, H, W] to mean 0 and variance 1 per channel.

    Returns:
        The normalised map, the means [C] and the reciprocals of the standard deviations [C].
    """
    if y.shape[1] > _FEW:
        normal, mean, inverse = torch.native_batch_norm(y, None, None, None, None, True, 0.0, eps)
        return normal, mean, inverse
    rows, width, pixels = _rows(y), y.shape[3], y.numel() // y.shape[1]
    mean = _by_channel(rows.sum(0), width) / pixels
    centred = rows - mean.repeat(width)
    inverse = (_by_channel((centred * centred).sum(0), width) / pixels + eps).rsqrt_()
    return _map(centred.mul_(inverse.repeat(width)), y), mean, inverse


def normalise_gradient(
    y_grad: Tensor, y: Tensor, scale: Tensor | None, mean: Tensor, inverse: Tensor, eps: float, *, need_input: bool
) -> tuple[Tensor | None, Tensor]:
    """Returns the gradients of y (None unless `need_input`) and of `scale` [], a factor of the output; None is 1."""
    if y.shape[1] > _FEW:
        # Materialised: with an expanded weight, torch 2.13 silently returns a wrong gradient.
        weight = None if scale is None else scale.expand(y.shape[1]).contiguous()
        slope, by_channel, _ = torch.ops.aten.native_batch_norm_backward(
            y_grad, y, weight, None, None, mean, inverse, True, eps, [need_input, True, False]
        )
        return slope, by_channel.sum()
    rows, grads, width, pixels = _rows(y), _rows(y_grad), y.shape[3], y.numel() // y.shape[1]
    total = _by_channel(grads.sum(0), width)
    by_channel = (_by_channel((grads * rows).sum(0), width) - total * mean) * inverse
    if not need_input:
        return None, by_channel.sum()
    factor = inverse if scale is None else inverse * scale
    of_y = -factor * by_channel * inverse / pixels
    offset = -factor * total / pixels - of_y * mean
    slope = torch.addcmul(offset.repeat(width), rows, of_y.repeat(width)).addcmul_(grads, factor.repeat(width))
    return _map(slope, y), by_channel.sum()


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[3] * x.shape[1])


def _map(rows: Tensor, like: Tensor) -> Tensor:
    images, channels, height, width = like.shape
    return rows.view(images, height, width, channels).permute(0, 3, 1, 2)


def _by_channel(row: Tensor, width: int) -> Tensor:
    return row.view(width, -1).sum(0)
