"""Accuracy of a network on a split, and the finished form in which a network is judged and shipped."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from nas_pipeline.train.batches import Batches
from nas_pipeline.train.recipe import Recipe

_EVAL_BATCH = 500


class FlipAveraged(nn.Module):
    """Averages the logits of an image and of its mirror image, inside the graph."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C, H, W] -> logits [N, classes]."""
        both = self.net(torch.cat([x, x.flip(3)]))
        return cast(torch.Tensor, both.view(2, -1, both.shape[1]).mean(0))


def finished(net: nn.Module, recipe: Recipe) -> nn.Module:
    """The network as it is judged, exported and timed."""
    return FlipAveraged(net) if recipe.flip_average else net


@torch.no_grad()
def accuracy(net: nn.Module, batches: Batches, recipe: Recipe, autocast: torch.dtype | None = None) -> float:
    """Share of images in `batches` whose top class is right, for the finished form of `net`."""
    whole = finished(net, recipe)
    training = whole.training
    whole.eval()
    correct = 0
    for images, labels in batches.in_order(_EVAL_BATCH):
        with torch.autocast(images.device.type, autocast, enabled=autocast is not None):
            logits = whole(images)
        correct += int((logits.float().argmax(1) == labels).sum())
    whole.train(training)
    return correct / len(batches)
