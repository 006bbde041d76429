"""Histograms of what a model sees: the bins on which device and fleet agree."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

LEAST: Final = 50
"""Images below which nothing leaves the device: sums of a few would say much of each."""
BINS: Final = {"confidence": (10, 1.0), "mean": (16, 1.0), "std": (16, 0.5)}
"""Bins and upper end, from 0; of an image's pixels / 255, the standard deviation is at most a half."""


def binned(name: str, values: Iterable[float]) -> list[int]:
    """Counts the values in the bins of one of BINS.

    A value outside the range counts in the nearest bin, and one that is not a number in the first bin.
    """
    bins, end = BINS[name]
    counts = [0] * bins
    for value in values:
        place = 0.0 if math.isnan(value) else min(max(value, 0.0), end) / end * bins
        counts[min(int(place), bins - 1)] += 1
    return counts
