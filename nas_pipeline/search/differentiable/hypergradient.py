"""The gradient of the validation loss with respect to the alphas, through one virtual step of the weights.

The weights are changed in place and always restored, so no second copy of the network is needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from nas_pipeline.errors import ConfigError

Order = Literal["first", "second"]
Form = Literal["exact", "finite_difference"]
Loss = Callable[[], Tensor]
"""Returns a scalar of the current weights and alphas. Two calls must return the same: it must not draw at random."""


def hypergradient(
    train_loss: Loss,
    val_loss: Loss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    *,
    order: Order,
    form: Form = "exact",
    learning_rate: float = 0.0,
    momentum: float = 0.0,
    momentum_buffers: Sequence[Tensor | None] | None = None,
    weight_decay: float = 0.0,
    eps: float = 0.01,
) -> list[Tensor]:
    """Returns d L_val(w', alpha) / d alpha, with w' = w - xi (momentum x buffer + dL_train/dw + decay x w).

    First order uses w' = w. Second order adds the effect of alpha on w': - xi d2 L_train / (d alpha d w) v, where
    v = dL_val / dw' at w'. The clipping of gradients in the weight step is not part of w', as in the code of
    the paper.

    Args:
        train_loss: L_train of the current parameters.
        val_loss: L_val of the current parameters.
        weights: Weights of the network, leaves that require gradients; bit-equal afterwards.
        alphas: Architecture parameters, leaves that require gradients; bit-equal afterwards.
        order: `first` or `second`.
        form: The product with the mixed second derivative: `exact` (a backward pass through the gradient) or
            `finite_difference` (central, as in the paper: two more gradients, less memory).
        learning_rate: xi, of the virtual step.
        momentum: Of the optimiser of the weights.
        momentum_buffers: Buffers of that optimiser, one per weight; None where there is none yet.
        weight_decay: Of the optimiser of the weights.
        eps: The finite difference moves the weights by a vector of this length.

    Returns:
        One tensor per alpha; zeros for an alpha that no loss depends on.

    Raises:
        ConfigError: Unknown order or form.

    Source: Liu et al., arXiv:1806.09055, equations 6 to 8.
    """
    if order not in ("first", "second") or form not in ("exact", "finite_difference"):
        raise ConfigError(f"unknown hypergradient: order {order!r} with form {form!r}; "
                          "order is first or second, form is exact or finite_difference")
    weights, alphas = list(weights), list(alphas)
    if order == "first":
        return _alpha_gradient(val_loss, weights, alphas)
    with frozen(alphas):
        gradient = _gradient(train_loss(), weights)
    buffers = momentum_buffers if momentum_buffers is not None else [None] * len(weights)
    step = [
        -learning_rate * (slope + weight_decay * weight.detach() + (0 if buffer is None else momentum * buffer))
        for weight, slope, buffer in zip(weights, gradient, buffers, strict=True)
    ]
    with moved(weights, step):
        both = _gradient(val_loss(), [*alphas, *weights])
    direct, direction = both[: len(alphas)], both[len(alphas) :]
    if form == "exact":
        product = _exact(train_loss, weights, alphas, direction)
    else:
        product = _finite_difference(train_loss, weights, alphas, direction, eps)
    return [slope - learning_rate * through for slope, through in zip(direct, product, strict=True)]


def _exact(train_loss: Loss, weights: list[Tensor], alphas: list[Tensor], direction: list[Tensor]) -> list[Tensor]:
    """Returns d/d alpha <dL_train/dw, direction>: the mixed second derivative times `direction`."""
    gradient = torch.autograd.grad(train_loss(), weights, create_graph=True, allow_unused=True)
    pairs = [(g, d) for g, d in zip(gradient, direction, strict=True) if g is not None and g.requires_grad]
    if not pairs:
        return [torch.zeros_like(alpha) for alpha in alphas]
    return _gradient(torch.stack([(g * d).sum() for g, d in pairs]).sum(), alphas)


def _finite_difference(
    train_loss: Loss, weights: list[Tensor], alphas: list[Tensor], direction: list[Tensor], length: float
) -> list[Tensor]:
    """Returns the same product from the gradients of alpha at w + eps v and w - eps v."""
    norm = float(torch.stack([d.norm() for d in direction]).norm())
    if norm == 0.0:
        return [torch.zeros_like(alpha) for alpha in alphas]
    eps = length / norm
    with moved(weights, [eps * d for d in direction]):
        above = _alpha_gradient(train_loss, weights, alphas)
    with moved(weights, [-eps * d for d in direction]):
        below = _alpha_gradient(train_loss, weights, alphas)
    return [(a - b) / (2 * eps) for a, b in zip(above, below, strict=True)]


def _alpha_gradient(loss: Loss, weights: list[Tensor], alphas: list[Tensor]) -> list[Tensor]:
    """Returns the gradient of the alphas only: nothing is stored or computed for gradients of the weights."""
    with frozen(weights):
        return _gradient(loss(), alphas)


def _gradient(loss: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(tensor) for tensor in inputs]
    return list(torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True))


@contextlib.contextmanager
def frozen(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Turns `requires_grad` of `tensors` off inside the block, and restores it afterwards."""
    before = [tensor.requires_grad for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.requires_grad_(False)
        yield
    finally:
        for tensor, required in zip(tensors, before, strict=True):
            tensor.requires_grad_(required)


@contextlib.contextmanager
def moved(tensors: Sequence[Tensor], step: Sequence[Tensor]) -> Iterator[None]:
    """Adds `step` to `tensors` inside the block, and restores the exact bits afterwards, also after an exception."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.no_grad():
            torch._foreach_add_(list(tensors), list(step))
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(list(tensors), before)
