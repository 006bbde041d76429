"""How sharp the validation loss is in the alphas: the sign by which a search that is about to collapse is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_SMALL = 1e-12


def dominant_eigenvalue(
    loss: Tensor, alphas: Sequence[Tensor], stream: torch.Generator, *, iterations: int = 8, tolerance: float = 0.02
) -> float:
    """The largest eigenvalue of the Hessian of `loss` with respect to all `alphas` together.

    By power iteration: the Hessian is never built, a product with a vector is one backward pass through the gradient.
    If the eigenvalue of largest size is negative, a second iteration on the Hessian shifted by it finds the largest.
    (Differences of two gradients would be cheaper, and are wrong: a network of ReLUs has a kink at every scale, which a
    difference takes for curvature.)

    Args:
        loss: A scalar whose graph reaches the alphas. Freeze the weights, or their gradients are kept for nothing.
        alphas: Leaves.
        stream: A CPU stream; draws the start.
        iterations: Most products for either iteration.
        tolerance: Ends an iteration when the eigenvalue changes by less than this share of it.

    Source: Zela et al., arXiv:1909.09656, section 4 (what it says); von Mises and Pollaczek-Geiringer (the method).
    """
    gradient = torch.autograd.grad(loss, alphas, create_graph=True, allow_unused=True)
    pairs = [(g, a) for g, a in zip(gradient, alphas, strict=True) if g is not None and g.requires_grad]
    if not pairs:
        return 0.0
    slopes, leaves = zip(*pairs, strict=True)

    def product(vector: list[Tensor]) -> list[Tensor]:
        return list(torch.autograd.grad(
            slopes, leaves, grad_outputs=vector, retain_graph=True, allow_unused=True, materialize_grads=True
        ))

    start = [torch.randn(leaf.shape, generator=stream).to(leaf) for leaf in leaves]
    value = _iterate(product, start, iterations, tolerance)
    if value >= 0:
        return value
    return value + _iterate(
        lambda v: [h - value * x for h, x in zip(product(v), v, strict=True)], start, iterations, tolerance
    )


def _iterate(
    product: Callable[[list[Tensor]], list[Tensor]], vector: list[Tensor], iterations: int, tolerance: float
) -> float:
    """The eigenvalue of largest size, by Rayleigh quotients."""
    value = 0.0
    for _ in range(iterations):
        norm = _dot(vector, vector) ** 0.5
        if norm < _SMALL:
            return 0.0
        vector = [x / norm for x in vector]
        image = product(vector)
        before, value = value, _dot(vector, image)
        if abs(value - before) <= tolerance * abs(value):
            break
        vector = image
    return value


def _dot(a: list[Tensor], b: list[Tensor]) -> float:
    return float(sum((x.detach() * y.detach()).sum() for x, y in zip(a, b, strict=True)))
