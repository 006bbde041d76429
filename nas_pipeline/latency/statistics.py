"""Percentiles and spreads of timings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np


def percentiles_ms(samples_ms: Sequence[float]) -> tuple[float, float, float, float]:
    """p50, p90, p95 and p99, each an observed value or above it: never an interpolated, kinder one."""
    p50, p90, p95, p99 = np.percentile(np.asarray(samples_ms), (50, 90, 95, 99), method="higher")
    return float(p50), float(p90), float(p95), float(p99)


def quantiles_ms(samples_ms: Sequence[float]) -> tuple[float, ...]:
    """0, 1, ..., 100 %: observed values, as in `percentiles_ms`."""
    return tuple(float(q) for q in np.percentile(np.asarray(samples_ms), np.arange(101), method="higher"))


def relative_spread(medians: Sequence[float]) -> float:
    """(max - min) / median: how far separate processes disagree. 0.0 for one process."""
    return (max(medians) - min(medians)) / median(medians)


def normalised_spread(model_medians: Sequence[float], reference_medians: Sequence[float]) -> float:
    """Spread of the ratios model / reference, process by process.

    A busy or throttled host slows both models of a process alike, which the ratio cancels; what is left is
    disagreement about the model itself.
    """
    return relative_spread([own / other for own, other in zip(model_medians, reference_medians, strict=True)])
