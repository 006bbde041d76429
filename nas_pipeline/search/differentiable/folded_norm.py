"""A 1x1 convolution and the batch norm behind it as one 1x1 convolution, exactly, and its gradient by hand.

The statistics of y = W d follow from those of d: mean W m and variance diag(W Cov W^T). So y is never made, neither for
its statistics nor for the gradient: two passes over d take the place of the eight that batch norm needs. All matrices
here are small, [C, C], and K units are folded at once. Rule of this file: nothing is recorded by autograd.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Folded:
    """K folded units; y = scale * (W d - mean) / sqrt(variance + eps) is conv(d, weight) + bias."""

    weight: Tensor
    """[K, C_out, C_in]"""
    bias: Tensor
    """[K, C_out]"""
    pointwise: Tensor
    """[K, C_out, C_in], W."""
    scale: Tensor | None
    """[K]; None is 1."""
    inverse: Tensor
    """[K, C_out], 1 / sqrt(variance + eps)."""
    mean: Tensor
    """[K, C_in], of d."""
    covariance: Tensor
    """[K, C_in, C_in], of d."""
    pixels: int
    """Rows that the statistics are of: images * height * width."""


def fold(inputs: list[Tensor], pointwise: list[Tensor], scale: Tensor | None, eps: float) -> Folded:
    """Fold K units.

    Args:
        inputs: d of each, [N, C_in, H, W], channels last.
        pointwise: W of each, [C_out, C_in, 1, 1].
        scale: [K], what the outputs are multiplied by.
        eps: That of the batch norms.
    """
    w = torch.stack(pointwise).flatten(2)
    pixels = inputs[0].numel() // inputs[0].shape[1]
    mean = torch.stack([_rows(d).mean(0) for d in inputs])
    second = torch.stack([outer(d, d) for d in inputs]) / pixels
    covariance = torch.baddbmm(second, mean[:, :, None], mean[:, None, :], alpha=-1)
    variance = (torch.bmm(w, covariance) * w).sum(2).clamp_(min=0)
    inverse = (variance + eps).rsqrt_()
    total = inverse if scale is None else inverse * scale[:, None]
    weight = w * total[:, :, None]
    bias = -torch.bmm(weight, mean[:, :, None]).squeeze(2)
    return Folded(weight, bias, w, scale, inverse, mean, covariance, pixels)


@dataclass(frozen=True, slots=True)
class FoldedGradient:
    """Gradients of K folded units. That of d is conv(y_grad, back) + conv(d, slope) + offset."""

    pointwise: Tensor
    """[K, C_out, C_in]"""
    scale: Tensor
    """[K]"""
    back: Tensor
    """[K, C_in, C_out]"""
    slope: Tensor
    """[K, C_in, C_in]"""
    offset: Tensor
    """[K, C_in]"""


def fold_gradient(folded: Folded, products: Tensor, sums: Tensor) -> FoldedGradient:
    """The gradient, from sums over pixels: `products` of y_grad d^T [K, C_out, C_in] and `sums` of y_grad [K, C_out].

    With v the gradient of the variance and m the mean: that of d is weight^T y_grad + 2/n W^T diag(v) W (d - m), less
    the part of the mean.
    """
    w, inverse, mean, pixels = folded.pointwise, folded.inverse, folded.mean, folded.pixels
    total = inverse if folded.scale is None else inverse * folded.scale[:, None]
    means = torch.bmm(w, mean[:, :, None]).squeeze(2)
    total_grad = (products * w).sum(2) - sums * means  # of inverse * scale
    variance_grad = total_grad * total * inverse.square() * -0.5
    shifted = sums * total
    spread = w * variance_grad[:, :, None]
    pointwise_grad = products * total[:, :, None]
    pointwise_grad.baddbmm_(shifted[:, :, None], mean[:, None, :], alpha=-1)
    pointwise_grad.baddbmm_(spread, folded.covariance, alpha=2)
    slope = torch.bmm(w.transpose(1, 2), spread) * (2 / pixels)
    offset = torch.bmm(slope, mean[:, :, None]) + torch.bmm(w.transpose(1, 2), shifted[:, :, None]) / pixels
    return FoldedGradient(
        pointwise_grad, (total_grad * inverse).sum(1), folded.weight.transpose(1, 2), slope, -offset.squeeze(2)
    )


def apply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """1x1 convolution of x [N, C_in, H, W] with weight [C_out, C_in]."""
    return F.conv2d(x, weight[:, :, None, None], bias)


def outer(left: Tensor, right: Tensor) -> Tensor:
    """The sum over pixels of left right^T: [N, A, H, W], [N, B, H, W] -> [A, B]."""
    if left.dtype != torch.float32 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return _rows(left).t() @ _rows(right)
    # The weight gradient of a 1x1 convolution is this very sum, and oneDNN's takes half the time of a matrix product.
    weight = right.new_empty(left.shape[1], right.shape[1], 1, 1)
    product: Tensor = torch.ops.aten.convolution_backward(
        left, right, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, False]
    )[1]
    return product[:, :, 0, 0]


def pixel_sum(x: Tensor) -> Tensor:
    """X [N, C, H, W], channels last -> [C]."""
    return _rows(x).sum(0)


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
