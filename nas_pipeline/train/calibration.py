"""Confidence that means what it says: one temperature for all logits, folded into the last layer's weights."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import nn

from nas_pipeline.train.batches import Batches

_BATCH = 500
_BOUNDS = (0.25, 4.0)
"""Where every validation image is right, the likelihood asks for endless confidence: it is not given."""


def temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The divisor of the logits under which `labels` are most likely.

    Args:
        logits: [N, classes].
        labels: [N].

    Source: Guo et al., arXiv:1706.04599, section 4.2.
    """
    logits, labels = logits.detach().double(), labels.long()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / math.exp(log_temperature), labels))

    found = minimize_scalar(loss, bounds=tuple(math.log(bound) for bound in _BOUNDS), method="bounded")
    return math.exp(float(found.x))


@torch.no_grad()
def calibrate(net: nn.Module, finished: nn.Module, val: Batches) -> float:
    """Divide the weights of `net.classifier` by the temperature that validation images ask for, and return it.

    Args:
        net: The trained network; its last layer is `classifier`, linear. The order of its classes does not change.
        finished: The form in which `net` is judged and shipped; it shares its weights.
        val: Validation images.
    """
    finished.eval()
    seen = [(finished(images).float(), labels) for images, labels in val.in_order(_BATCH)]
    divisor = temperature(torch.cat([logits for logits, _ in seen]), torch.cat([labels for _, labels in seen]))
    last = net.classifier
    assert isinstance(last, nn.Linear)
    for parameter in last.parameters():
        parameter.div_(divisor)
    return divisor
