"""How far two histograms are apart, and how far chance alone takes them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import chdtri

_EMPTY = 0.5
"""Images added to each bin that either histogram uses: an empty one is no infinity."""


def psi(one: Sequence[int], other: Sequence[int]) -> float:
    """Population stability index: the sum of (p - q) ln(p / q) over the bins that either uses, each half an image up.

    Source: Kullback and Leibler 1951 (J-divergence); Siddiqi, Credit Risk Scorecards, 2006 (PSI, its 0.1 and 0.25);
    Krichevsky and Trofimov 1981 (the half).
    """
    counts = np.array([one, other], dtype=np.float64)
    counts = counts[:, counts.sum(axis=0) > 0] + _EMPTY
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())


def psi_of_chance(one: Sequence[int], other: Sequence[int], alpha: float) -> float:
    """What PSI exceeds with probability `alpha` where n and m images are draws of one distribution.

    PSI / (1/n + 1/m) is then chi-squared distributed with bins - 1 degrees of freedom. So a chi-squared test of the
    classes would be the same test again.

    Source: Yurdakul and Naranjo, Statistical properties of the population stability index, J. Risk Model Validation
    14(4), 2020.
    """
    used = sum(a + b > 0 for a, b in zip(one, other, strict=True))
    return float(chdtri(used - 1, alpha)) * (1 / sum(one) + 1 / sum(other)) if used > 1 else 0.0


def ks(one: Sequence[int], other: Sequence[int]) -> float:
    """Two-sample Kolmogorov-Smirnov statistic of two histograms with the same bins in order.

    It is at most that of the values themselves: with the critical value for these it errs to the side of no alarm.
    """
    shares = np.array([np.cumsum(one) / sum(one), np.cumsum(other) / sum(other)])
    return float(np.abs(shares[0] - shares[1]).max())


def ks_of_chance(one: Sequence[int], other: Sequence[int], alpha: float) -> float:
    """Critical value of KS: sqrt(-ln(alpha / 2) / 2) * sqrt(1/n + 1/m).

    Source: Smirnov 1948; Knuth, The Art of Computer Programming 2, 3.3.1.
    """
    return math.sqrt(-math.log(alpha / 2) / 2 * (1 / sum(one) + 1 / sum(other)))
