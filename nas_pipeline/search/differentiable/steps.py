"""The two alternating steps: weights on one half of train, alphas on the other; neither moves what the other owns.

The alpha step computes no gradient for a weight that it does not need, the weight step none for an alpha.
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
from nas_pipeline.search.differentiable.network.mixing import KindMixing
from nas_pipeline.search.differentiable.network.search_network import SearchNetwork

Mixing = Mapping[str, KindMixing]
Mix = Callable[[], Mixing]
"""The mixing of the live alphas. Called twice it must give the same, so its random draws are fixed."""
Batch = tuple[Tensor, Tensor]
"""Images [N, C, H, W] and labels [N]."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Settings of both optimisers; the defaults are those of the paper.

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
        """The weights' learning rate: half a cosine from the first to the least; `progress` in [0, 1]."""
        span = self.learning_rate - self.least_learning_rate
        return self.least_learning_rate + span * 0.5 * (1 + math.cos(math.pi * progress))


class Bilevel:
    """A search network and its two optimisers."""

    def __init__(self, net: SearchNetwork, rates: Rates, *, order: Order = "first", form: Form = "exact") -> None:
        """`order` and `form` are those of `hypergradient`."""
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
        """Of the weights, now."""
        return float(self.weight_optimiser.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.weight_optimiser.param_groups[0]["lr"] = value

    def weight_step(self, batch: Batch, mix: Mix) -> float:
        """One step of the weights on a batch of their half.

        Returns:
            The loss. If it is not finite, nothing has moved.
        """
        with frozen(self.alphas):
            loss = self._loss(batch, mix())
            if not math.isfinite(value := float(loss.detach())):
                return value
            slopes = torch.autograd.grad(loss, self.weights, allow_unused=True)
        _step(self.weight_optimiser, self.weights, slopes, self.rates.clip_norm)
        return value

    def alpha_step(
        self, batch: Batch, train_batch: Batch, mix: Mix, extra: Callable[[], Tensor | float] = lambda: 0.0
    ) -> float:
        """One step of the alphas on a batch of their half.

        Args:
            batch: Of the alphas' half.
            train_batch: Of the weights' half, for the virtual step of second order.
            mix: The mixing.
            extra: Added to the loss on `batch`: penalties and regularisation.

        Returns:
            The cross-entropy on `batch`, at the virtual weights. If it is not finite, nothing has moved.
        """
        seen: list[float] = []

        def val_loss() -> Tensor:
            loss = self._loss(batch, mix())
            seen.append(float(loss.detach()))
            return loss + extra()

        slopes = hypergradient(
            lambda: self._loss(train_batch, mix()), val_loss, self.weights, self.alphas, order=self._order,
            form=self._form, learning_rate=self.learning_rate, momentum=self.rates.momentum,
            momentum_buffers=[self.weight_optimiser.state[w].get("momentum_buffer") for w in self.weights]
            if self.weight_optimiser.state else None,
            weight_decay=self.rates.weight_decay,
        )
        if not math.isfinite(seen[-1]) or not all(bool(slope.isfinite().all()) for slope in slopes):
            return math.nan
        _step(self.alpha_optimiser, self.alphas, slopes, None)
        return seen[-1]

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {"net": self.net.state_dict(), "weight_optimiser": self.weight_optimiser.state_dict(),
                "alpha_optimiser": self.alpha_optimiser.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        self.net.load_state_dict(state["net"])
        self.weight_optimiser.load_state_dict(state["weight_optimiser"])
        self.alpha_optimiser.load_state_dict(state["alpha_optimiser"])

    def _loss(self, batch: Batch, mixing: Mixing) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.net(images, mixing), labels)


def _step(
    optimiser: torch.optim.Optimizer, owned: list[nn.Parameter], slopes: Any, clip_norm: float | None
) -> None:
    """An optimiser's step with these gradients; a parameter that took no part (None) stays as it is."""
    for parameter, slope in zip(owned, slopes, strict=True):
        parameter.grad = slope
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(owned, clip_norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
