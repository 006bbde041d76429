"""Parts that some networks have in training only: paths that are dropped, and a second classifier half-way.

Networks without such parts train as ever; what is saved never holds them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from nas_pipeline.space.cell_network import AUXILIARY, CellNetwork, DropPath, add_auxiliary
from nas_pipeline.train.recipe import Recipe


def equip(net: nn.Module, recipe: Recipe) -> None:
    """Add an auxiliary head where the recipe gives it a weight and `net` has a place for one."""
    if recipe.auxiliary and isinstance(net, CellNetwork):
        add_auxiliary(net)


def set_drop_path(net: nn.Module, probability: float) -> None:
    """The probability of losing a path, for all paths of `net` that may be lost."""
    for module in net.modules():
        if isinstance(module, DropPath):
            module.probability = probability


def all_logits(net: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits [N, classes], and those of the auxiliary head where there is one."""
    if isinstance(net, CellNetwork) and net.auxiliary is not None:
        return net.both_logits(images)
    return net(images), None


def without(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The entries of a state dict that the finished network has."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(AUXILIARY)}
