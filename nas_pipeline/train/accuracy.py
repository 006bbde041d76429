"""Accuracy of a network on a split, and the finished form in which a network is judged and shipped."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from nas_pipeline.train.batches import Batches
from nas_pipeline.train.recipe import Recipe

_EVAL_BATCH = 500


class AveragedViews(nn.Module):
    """Averages a network's logits over views of the image, inside the graph and in one pass.

    Source: Krizhevsky, NeurIPS 2012, section 4.1; the six views and their weights as in Jordan, arXiv:2404.00498.
    """

    def __init__(self, net: nn.Module, views: int) -> None:
        """`views` is 2 (image and mirror image) or 6 (both, in place and moved by one pixel along both diagonals)."""
        super().__init__()
        self.net = net
        self.views = views

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C, H, W] -> logits [N, classes]."""
        seen = [x, x.flip(3)]
        if self.views == 6:
            # The border is repeated: the image's own background, whatever the normalisation.
            wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
            for moved in (wide[:, :, :-2, :-2], wide[:, :, 2:, 2:]):
                seen += [moved, moved.flip(3)]
        logits = self.net(torch.cat(seen))
        logits = logits.view(self.views, -1, logits.shape[1])
        if self.views == 2:
            return cast(torch.Tensor, logits.mean(0))
        return cast(torch.Tensor, (logits[:2].sum(0) + logits[2:].mean(0) * 2) / 4)


def finished(net: nn.Module, recipe: Recipe) -> nn.Module:
    """The network as it is judged, exported and timed."""
    return AveragedViews(net, recipe.views) if recipe.views > 1 else net


@torch.no_grad()
def accuracy(net: nn.Module, batches: Batches, autocast: torch.dtype | None = None) -> float:
    """Share of images in `batches` whose top class is right."""
    training = net.training
    net.eval()
    correct = 0
    for images, labels in batches.in_order(_EVAL_BATCH):
        with torch.autocast(images.device.type, autocast, enabled=autocast is not None):
            logits = net(images)
        correct += int((logits.float().argmax(1) == labels).sum())
    net.train(training)
    return correct / len(batches)
