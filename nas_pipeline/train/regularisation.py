"""Regularisation that exists in training only: drop path and the auxiliary head of networks of cells.

Other networks are not changed. The saved weights contain neither.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from nas_pipeline.space.cell_network import AUXILIARY, CellNetwork, DropPath, add_auxiliary
from nas_pipeline.train.recipe import Recipe


def add_auxiliary_head(net: nn.Module, recipe: Recipe) -> None:
    """Adds the auxiliary head to `net` if it is a network of cells and `recipe.auxiliary` is not 0."""
    if recipe.auxiliary and isinstance(net, CellNetwork):
        add_auxiliary(net)


def set_drop_path(net: nn.Module, probability: float) -> None:
    """Sets the probability of dropping a path, for every `DropPath` in `net`.

    Args:
        net: Any network.
        probability: In [0, 1).
    """
    for module in net.modules():
        if isinstance(module, DropPath):
            module.probability = probability


def all_logits(net: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns the logits [N, classes] of `net` and of its auxiliary head.

    Args:
        net: Any network.
        images: [N, C, H, W].

    Returns:
        The second is None where `net` has no auxiliary head.
    """
    if isinstance(net, CellNetwork) and net.auxiliary is not None:
        return net.both_logits(images)
    return net(images), None


def without_auxiliary_head(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the entries of a state dict that do not belong to the auxiliary head."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(AUXILIARY)}
