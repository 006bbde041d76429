"""The learning rate as a function of progress."""

from __future__ import annotations

import math


def learning_rate(peak: float, progress: float, warmup: float) -> float:
    """Linear climb to `peak` during the first `warmup` of the way, then a cosine down to zero.

    `progress` is in [0, 1). Source: Loshchilov and Hutter, arXiv:1608.03983; warm-up: Goyal, arXiv:1706.02677.
    """
    if progress < warmup:
        return peak * max(progress, 1e-3) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
