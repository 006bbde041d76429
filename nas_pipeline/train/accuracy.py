"""Top-1 accuracy of a network on a split."""

from __future__ import annotations

import torch
from torch import nn

from nas_pipeline.train.batches import Batches

_EVAL_BATCH = 500


@torch.no_grad()
def accuracy(net: nn.Module, batches: Batches, autocast: torch.dtype | None = None) -> float:
    """Returns the share of images whose top class is correct, in [0, 1].

    Args:
        net: Evaluated in evaluation mode; its mode is restored afterwards.
        batches: The images and labels, on the device of `net`.
        autocast: Type of mixed precision; None for fp32.
    """
    training = net.training
    net.eval()
    correct = 0
    for images, labels in batches.in_order(_EVAL_BATCH):
        with torch.autocast(images.device.type, autocast, enabled=autocast is not None):
            logits = net(images)
        correct += int((logits.float().argmax(1) == labels).sum())
    net.train(training)
    return correct / len(batches)
