"""Figures of quality from recorded predictions: by class, balanced, calibration. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas_pipeline.core.predictions import Predictions

ECE_BINS = 15


def recalls(said: Predictions, classes: int) -> npt.NDArray[np.float64]:
    """[classes]: share of each class's images that are right; NaN for a class without test images."""
    counts = np.bincount(said.labels, minlength=classes)
    right = np.bincount(said.labels[said.correct], minlength=classes)
    return _shares(right, counts)


def precisions(said: Predictions, classes: int) -> npt.NDArray[np.float64]:
    """[classes]: share of the images called so that are so; NaN for a class that was never named."""
    named = np.bincount(said.predicted, minlength=classes)
    right = np.bincount(said.labels[said.correct], minlength=classes)
    return _shares(right, named)


def confusion(said: Predictions, classes: int) -> npt.NDArray[np.int64]:
    """[classes, classes]: rows are true classes, columns predicted ones."""
    flat = np.bincount(said.labels * classes + said.predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def ece(said: Predictions, bins: int = ECE_BINS) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over equal bins of confidence.

    Biased upwards on few images.

    Source: Guo et al., arXiv:1706.04599, section 2, with 15 bins as there.
    """
    confidence = said.confidence.astype(np.float64)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, weights=said.correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _shares(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
