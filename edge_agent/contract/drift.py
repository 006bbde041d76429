"""Histograms of served images: the bins that device and fleet share.

A device counts in these bins what it serves; the fleet compares the counts with those of the validation images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

MIN_IMAGES: Final = 50
"""Sums of fewer images are not reported: they would describe single images."""
BINS: Final = {"confidence": (10, 1.0), "mean": (16, 1.0), "std": (16, 0.5)}
"""Statistic of an image -> number of bins and upper end of the range, which starts at 0.

confidence: largest softmax probability. mean, std: of pixels / 255; the standard deviation is at most 0.5.
"""


def binned(name: str, values: Iterable[float]) -> list[int]:
    """Counts the values in the bins of one of BINS.

    A value outside the range counts in the nearest bin, and NaN in the first bin.

    Args:
        name: A key of BINS.
        values: One value per image.

    Returns:
        One count per bin. The counts add up to the number of values.
    """
    bins, end = BINS[name]
    counts = [0] * bins
    for value in values:
        position = 0.0 if math.isnan(value) else min(max(value, 0.0), end) / end * bins
        counts[min(int(position), bins - 1)] += 1
    return counts
