"""Curvature of the validation loss in the alphas, which rises before a search collapses to skip connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_SMALL = 1e-12


def dominant_eigenvalue(
    loss: Tensor, alphas: Sequence[Tensor], stream: torch.Generator, *, iterations: int = 8, tolerance: float = 0.02
) -> float:
    """Returns the largest eigenvalue of the Hessian of `loss` with respect to all `alphas` together.

    The method is power iteration: the Hessian is never built, a product with a vector is one backward pass through the
    gradient. If the eigenvalue of largest magnitude is negative, a second iteration on the shifted Hessian finds the
    largest one. Differences of two gradients would be cheaper but wrong: a network of ReLUs has kinks at every scale,
    which a difference mistakes for curvature.

    Args:
        loss: A scalar whose graph contains the alphas. Freeze the weights, or memory is spent on their gradients.
        alphas: Leaves of the graph.
        stream: A CPU generator for the first vector.
        iterations: Largest number of products in each of the two iterations.
        tolerance: An iteration ends when the eigenvalue changes by less than this share of it.

    Source: Zela et al., arXiv:1909.09656, section 4 (the eigenvalue as an indicator); von Mises and
    Pollaczek-Geiringer (power iteration).
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
    """Returns the eigenvalue of largest magnitude, by Rayleigh quotients."""
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
