"""Muon: momentum with orthogonalised steps for the inner convolutions, Nesterov SGD for all other parameters.

Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with the weight normalisation
of Jordan, arXiv:2404.00498's successor recipe: each weight is kept at the norm of an orthogonal matrix of its shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic polynomial that moves all singular values towards 1."""
_ROUNDS = 3


class Muon(Optimizer):
    """Takes orthogonalised steps in groups with `orthogonal: True`, Nesterov SGD with weight decay in the others."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no closure is called
        """Updates every parameter that has a gradient. `closure` is ignored."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: nn.Parameter, group: dict[str, Any]) -> None:
        gradient = weight.grad
        assert gradient is not None
        if group["weight_decay"]:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        state = self.state[weight]
        momentum = state.setdefault("momentum", torch.zeros_like(weight))
        momentum.mul_(group["momentum"]).add_(gradient)
        update = gradient.add(momentum, alpha=group["momentum"])
        if group["orthogonal"]:
            update = orthogonalise(update.reshape(len(update), -1)).reshape(weight.shape)
            weight.mul_(len(weight) ** 0.5 / weight.norm().clamp_min(1e-12))
        weight.add_(update, alpha=-group["lr"])


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """Returns an approximation of the orthogonal factor of `matrix` [rows, columns].

    The singular values of the result are between about 0.5 and 1.2.

    Source: the Newton-Schulz iteration of Bernstein and Newhouse, arXiv:2409.20325, with tuned coefficients.
    """
    a, b, c = _COEFFICIENTS
    wide: torch.Tensor = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(_ROUNDS):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide.mT if matrix.shape[0] > matrix.shape[1] else wide


def takes_orthogonal_steps(weight: torch.Tensor) -> bool:
    """Returns whether a parameter is the weight of an inner convolution; depthwise and one-channel filters are not."""
    return weight.ndim == 4 and weight.shape[1] > 1
