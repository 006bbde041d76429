"""Temperature scaling: one divisor for all logits, folded into the weights of the last layer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import nn

from nas_pipeline.train.batches import Batches

_BATCH = 500
_BOUNDS = (0.25, 4.0)
"""Where all validation images are classified correctly, the likelihood has no maximum: the lower bound is used."""


def temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Returns the divisor of the logits that maximises the likelihood of `labels`.

    Args:
        logits: [N, classes].
        labels: [N].

    Source: Guo et al., arXiv:1706.04599, section 4.2.
    """
    logits, labels = logits.detach().double(), labels.long()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / math.exp(log_temperature), labels))

    minimum = minimize_scalar(loss, bounds=tuple(math.log(bound) for bound in _BOUNDS), method="bounded")
    return math.exp(float(minimum.x))


@torch.no_grad()
def calibrate(net: nn.Module, deployed: nn.Module, val: Batches) -> float:
    """Divides the weights of `net.classifier` by the temperature that validation images call for.

    The top class of an image does not change.

    Args:
        net: The trained network; its last layer is `classifier`, linear.
        deployed: `net` with test-time augmentation, as it is evaluated and shipped; it shares its weights.
        val: Validation images.

    Returns:
        The temperature.
    """
    deployed.eval()
    predictions = [(deployed(images).float(), labels) for images, labels in val.in_order(_BATCH)]
    divisor = temperature(
        torch.cat([logits for logits, _ in predictions]), torch.cat([labels for _, labels in predictions])
    )
    last = net.classifier
    assert isinstance(last, nn.Linear)
    for parameter in last.parameters():
        parameter.div_(divisor)
    return divisor
