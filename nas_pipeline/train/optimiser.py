"""The optimisers by name, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.errors import ConfigError
from nas_pipeline.train.muon import Muon, takes_orthogonal_steps
from nas_pipeline.train.recipe import Recipe


def make_optimiser(net: nn.Module, recipe: Recipe) -> Optimizer:
    """Returns the recipe's optimiser of the parameters of `net`.

    Weight decay applies to parameters of two and more dimensions, never to biases and normalisation.

    Raises:
        ConfigError: There is no optimiser of that name.
    """
    if recipe.optimiser not in OPTIMISERS:
        raise ConfigError(f"train.recipe.optimiser: unknown {recipe.optimiser!r}; known: {', '.join(OPTIMISERS)}")
    weights = [p for p in net.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in net.parameters() if p.requires_grad and p.ndim <= 1]
    return OPTIMISERS[recipe.optimiser](weights, others, recipe)


def _sgd(weights: list[nn.Parameter], others: list[nn.Parameter], recipe: Recipe) -> Optimizer:
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return SGD([group for group in groups if group["params"]], lr=recipe.learning_rate, momentum=0.9, nesterov=True)


def _adamw(weights: list[nn.Parameter], others: list[nn.Parameter], recipe: Recipe) -> Optimizer:
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=recipe.learning_rate)


def _muon(weights: list[nn.Parameter], others: list[nn.Parameter], recipe: Recipe) -> Optimizer:
    inner = [weight for weight in weights if takes_orthogonal_steps(weight)]
    outer = [weight for weight in weights if not takes_orthogonal_steps(weight)]
    groups = [
        {"params": inner, "orthogonal": True, "lr": recipe.muon_learning_rate, "momentum": 0.6},
        {"params": outer, "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay},
        {"params": others, "lr": recipe.learning_rate},
    ]
    return Muon([group for group in groups if group["params"]])


_ROWS: dict[str, Callable[[list[nn.Parameter], list[nn.Parameter], Recipe], Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
    "muon": _muon,
}

OPTIMISERS: Catalog[Optimizer] = Catalog("optimiser", _ROWS, entry_points="nas_pipeline.optimisers")
"""Name in params.yaml -> function of (weights, other parameters, recipe)."""


def set_learning_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Sets the rate of every group to its own peak times `factor`, which is in [0, 1]."""
    for group in optimiser.param_groups:
        group.setdefault("peak_lr", group["lr"])
        group["lr"] = group["peak_lr"] * factor


def learning_rate(peak: float, progress: float, warmup: float) -> float:
    """Returns the learning rate: a linear warm-up to `peak`, then a cosine down to zero.

    Args:
        peak: Largest learning rate.
        progress: Share of the steps that are done, in [0, 1).
        warmup: Share of the steps in which the rate rises, in [0, 1).

    Source: Loshchilov and Hutter, arXiv:1608.03983; warm-up: Goyal et al., arXiv:1706.02677.
    """
    if progress < warmup:
        return peak * max(progress, 1e-3) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
