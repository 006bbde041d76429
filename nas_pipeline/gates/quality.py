"""Quality measures of recorded predictions: recall and precision by class, confusion matrix, calibration error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas_pipeline.core.predictions import Predictions

ECE_BINS = 15


def recalls(predictions: Predictions, classes: int) -> npt.NDArray[np.float64]:
    """Returns the recall of each class, [classes]; NaN for a class without test images."""
    counts = np.bincount(predictions.labels, minlength=classes)
    right = np.bincount(predictions.labels[predictions.correct], minlength=classes)
    return _shares(right, counts)


def precisions(predictions: Predictions, classes: int) -> npt.NDArray[np.float64]:
    """Returns the precision of each class, [classes]; NaN for a class that was never predicted."""
    predicted = np.bincount(predictions.predicted, minlength=classes)
    right = np.bincount(predictions.labels[predictions.correct], minlength=classes)
    return _shares(right, predicted)


def confusion(predictions: Predictions, classes: int) -> npt.NDArray[np.int64]:
    """Returns the confusion matrix, [classes, classes]: rows are true classes, columns predicted ones."""
    flat = np.bincount(predictions.labels * classes + predictions.predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def ece(predictions: Predictions, bins: int = ECE_BINS) -> float:
    """Returns the expected calibration error: the mean gap of confidence and accuracy over equal bins of confidence.

    The estimate is biased upwards for few images.

    Source: Guo et al., arXiv:1706.04599, section 2, with 15 bins as there.
    """
    confidence = predictions.confidence.astype(np.float64)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, weights=predictions.correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _shares(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
