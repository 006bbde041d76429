"""Test-time augmentation: the deployed network averages its logits over several views of an image."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from nas_pipeline.train.recipe import Recipe


class AugmentedNetwork(nn.Module):
    """Averages a network's logits over views of the image, inside the graph and in one pass.

    Source: Krizhevsky et al., NeurIPS 2012, section 4.1; the six views and their weights: Jordan, arXiv:2404.00498.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> AugmentedNetwork(net, views=2)(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 10])
    """

    def __init__(self, net: nn.Module, views: int) -> None:
        """Wraps `net`.

        Args:
            net: Images [N, C, H, W] -> logits [N, classes].
            views: 2 (image and mirror image) or 6 (also both moved by one pixel along both diagonals).
        """
        super().__init__()
        self.net = net
        self.views = views

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C, H, W] -> logits [N, classes]."""
        views = [x, x.flip(3)]
        if self.views == 6:
            # The border is replicated: it is then background, whatever the normalisation.
            padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
            for moved in (padded[:, :, :-2, :-2], padded[:, :, 2:, 2:]):
                views += [moved, moved.flip(3)]
        logits = self.net(torch.cat(views))
        logits = logits.view(self.views, -1, logits.shape[1])
        if self.views == 2:
            return cast(torch.Tensor, logits.mean(0))
        return cast(torch.Tensor, (logits[:2].sum(0) + logits[2:].mean(0) * 2) / 4)


def with_test_time_augmentation(net: nn.Module, recipe: Recipe) -> nn.Module:
    """Returns the network in the form that is evaluated, exported and timed; it shares its weights with `net`."""
    return AugmentedNetwork(net, recipe.views) if recipe.views > 1 else net
