"""The two alternating steps of a search: the weights on one half of the training images, the alphas on the other.

Each step changes only its own parameters. The weight step computes no gradients of the alphas, and the alpha step only
those gradients of the weights that it needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_pipeline.search.differentiable.hypergradient import Form, Order, frozen, hypergradient
from nas_pipeline.search.differentiable.network.mixing import Mixing
from nas_pipeline.search.differentiable.network.search_network import SearchNetwork

MixingFunction = Callable[[], Mixing]
"""Returns the mixing of the current alphas. Two calls must return the same, so its random draws are fixed."""
Batch = tuple[Tensor, Tensor]
"""Images [N, C, H, W] and labels [N]."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Settings of the optimisers of the weights and of the alphas; the defaults are those of the paper.

    Source: Liu et al., arXiv:1806.09055, appendix A.1.
    """

    learning_rate: float = 0.025
    least_learning_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip_norm: float = 5.0
    alpha_learning_rate: float = 3e-4
    alpha_weight_decay: float = 1e-3

    def at(self, progress: float) -> float:
        """Returns the learning rate of the weights: a cosine from `learning_rate` to `least_learning_rate`.

        Args:
            progress: Share of the epochs that are done, in [0, 1].
        """
        span = self.learning_rate - self.least_learning_rate
        return self.least_learning_rate + span * 0.5 * (1 + math.cos(math.pi * progress))


class Bilevel:
    """A search network and the optimisers of its weights (SGD) and its alphas (Adam)."""

    def __init__(self, net: SearchNetwork, rates: Rates, *, order: Order = "first", form: Form = "exact") -> None:
        """Creates the optimisers; `order` and `form` are those of `hypergradient`."""
        self.net, self.rates = net, rates
        self._order, self._form = order, form
        self.weights, self.alphas = net.weights(), net.architecture()
        self.weight_optimiser = torch.optim.SGD(
            self.weights, rates.learning_rate, momentum=rates.momentum, weight_decay=rates.weight_decay
        )
        self.alpha_optimiser = torch.optim.Adam(
            self.alphas, rates.alpha_learning_rate, betas=(0.5, 0.999), weight_decay=rates.alpha_weight_decay
        )

    @property
    def learning_rate(self) -> float:
        """Current learning rate of the weights."""
        return float(self.weight_optimiser.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.weight_optimiser.param_groups[0]["lr"] = value

    def weight_step(self, batch: Batch, mix: MixingFunction) -> float:
        """Takes one step of the weights on a batch of their half.

        Returns:
            The loss. If it is not finite, no parameter was changed.
        """
        with frozen(self.alphas):
            loss = self._loss(batch, mix())
            if not math.isfinite(value := float(loss.detach())):
                return value
            slopes = torch.autograd.grad(loss, self.weights, allow_unused=True)
        _step(self.weight_optimiser, self.weights, slopes, self.rates.clip_norm)
        return value

    def alpha_step(
        self, batch: Batch, train_batch: Batch, mix: MixingFunction, extra: Callable[[], Tensor | float] = lambda: 0.0
    ) -> float:
        """Takes one step of the alphas on a batch of their half.

        Args:
            batch: Of the half of the alphas.
            train_batch: Of the half of the weights, for the virtual step of second order.
            mix: Returns the mixing.
            extra: Returns a term that is added to the loss on `batch`: penalties and regularisation.

        Returns:
            The cross-entropy on `batch`, at the virtual weights. If it is not finite, no parameter was changed.
        """
        losses: list[float] = []

        def val_loss() -> Tensor:
            loss = self._loss(batch, mix())
            losses.append(float(loss.detach()))
            return loss + extra()

        slopes = hypergradient(
            lambda: self._loss(train_batch, mix()), val_loss, self.weights, self.alphas, order=self._order,
            form=self._form, learning_rate=self.learning_rate, momentum=self.rates.momentum,
            momentum_buffers=[self.weight_optimiser.state[w].get("momentum_buffer") for w in self.weights]
            if self.weight_optimiser.state else None,
            weight_decay=self.rates.weight_decay,
        )
        if not math.isfinite(losses[-1]) or not all(bool(slope.isfinite().all()) for slope in slopes):
            return math.nan
        _step(self.alpha_optimiser, self.alphas, slopes, None)
        return losses[-1]

    def state(self) -> dict[str, Any]:
        """Returns everything that the next step depends on, for `restore`."""
        return {"net": self.net.state_dict(), "weight_optimiser": self.weight_optimiser.state_dict(),
                "alpha_optimiser": self.alpha_optimiser.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores a result of `state`."""
        self.net.load_state_dict(state["net"])
        self.weight_optimiser.load_state_dict(state["weight_optimiser"])
        self.alpha_optimiser.load_state_dict(state["alpha_optimiser"])

    def _loss(self, batch: Batch, mixing: Mixing) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.net(images, mixing), labels)


def _step(
    optimiser: torch.optim.Optimizer, owned: list[nn.Parameter], slopes: Any, clip_norm: float | None
) -> None:
    """Takes a step of `optimiser` with these gradients; a parameter with gradient None is not changed."""
    for parameter, slope in zip(owned, slopes, strict=True):
        parameter.grad = slope
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(owned, clip_norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
