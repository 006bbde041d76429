"""Distances between two histograms (PSI, KS) and their critical values. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import chdtri

_EMPTY = 0.5
"""Images added to each bin that either histogram uses, so that an empty bin does not give an infinite distance."""


def psi(reference: Sequence[int], observed: Sequence[int]) -> float:
    """Returns the population stability index: the sum of (p - q) ln(p / q) over the bins in use.

    Half an image is added to each of these bins.

    Source: Kullback and Leibler 1951 (J-divergence); Siddiqi, Credit Risk Scorecards, 2006 (PSI, its 0.1 and 0.25);
    Krichevsky and Trofimov 1981 (the half).
    """
    counts = np.array([reference, observed], dtype=np.float64)
    counts = counts[:, counts.sum(axis=0) > 0] + _EMPTY
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())


def psi_critical_value(reference: Sequence[int], observed: Sequence[int], alpha: float) -> float:
    """Returns the value that PSI exceeds with probability `alpha` for n and m images of the same distribution.

    PSI / (1/n + 1/m) is then chi-squared distributed with bins - 1 degrees of freedom. A separate chi-squared test of
    the classes would therefore be the same test.

    Source: Yurdakul and Naranjo, Statistical properties of the population stability index, J. Risk Model Validation
    14(4), 2020.
    """
    used = sum(a + b > 0 for a, b in zip(reference, observed, strict=True))
    return float(chdtri(used - 1, alpha)) * (1 / sum(reference) + 1 / sum(observed)) if used > 1 else 0.0


def ks(reference: Sequence[int], observed: Sequence[int]) -> float:
    """Returns the two-sample Kolmogorov-Smirnov statistic of two histograms with the same ordered bins.

    It is at most the statistic of the unbinned values, so a test with the critical value of the latter is conservative.
    """
    shares = np.array([np.cumsum(reference) / sum(reference), np.cumsum(observed) / sum(observed)])
    return float(np.abs(shares[0] - shares[1]).max())


def ks_critical_value(reference: Sequence[int], observed: Sequence[int], alpha: float) -> float:
    """Returns the critical value of KS: sqrt(-ln(alpha / 2) / 2) * sqrt(1/n + 1/m).

    Source: Smirnov 1948; Knuth, The Art of Computer Programming 2, 3.3.1.
    """
    return math.sqrt(-math.log(alpha / 2) / 2 * (1 / sum(reference) + 1 / sum(observed)))
