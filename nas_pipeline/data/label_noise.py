"""Images whose label is doubtful, by the confidence of a network that was not trained on them. Pure functions.

Source: Northcutt, Jiang and Chuang, "Confident learning", arXiv:1911.00068, sections 3.1 and 3.2 (thresholds and the
confident joint; ranking by normalised margin).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Doubt:
    """One image whose label may be wrong."""

    row: int
    given: int
    likely: int
    given_probability: float
    likely_probability: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def doubtful(labels: np.ndarray, probabilities: np.ndarray) -> list[Doubt]:
    """Images that the network is confident are of another class than their label says; the most doubtful first.

    Confident in a class is: at least as probable as that class is on average among the images that carry its label.
    A class that no image carries has no such average, and is never likely.

    Args:
        labels: int64 [N], as given.
        probabilities: [N, classes], of a network that saw none of these images in training.
    """
    images, classes = probabilities.shape
    rows = np.arange(images)
    own = probabilities[rows, labels]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=own, minlength=classes)
    threshold = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(probabilities >= threshold, probabilities, -1.0)
    likely = confident.argmax(axis=1)
    found = np.flatnonzero((confident[rows, likely] >= 0) & (likely != labels))
    margin = probabilities[found, likely[found]] - own[found]
    return [
        Doubt(row=row, given=int(labels[row]), likely=int(likely[row]), given_probability=round(float(own[row]), 6),
              likely_probability=round(float(probabilities[row, likely[row]]), 6))
        for row in found[np.argsort(-margin, kind="stable")].tolist()
    ]
