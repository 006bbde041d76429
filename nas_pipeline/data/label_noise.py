"""Detection of doubtful labels from the predictions of a network that was not trained on the images. Pure functions.

Source: Northcutt, Jiang and Chuang, "Confident learning", arXiv:1911.00068, sections 3.1 and 3.2 (thresholds and the
confident joint; ranking by normalised margin).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Doubt:
    """One image whose label may be wrong."""

    row: int
    label: int
    likely: int
    label_probability: float
    likely_probability: float

    def to_json(self) -> dict[str, Any]:
        """Plain data; the label and its probability are called `given` and `given_probability`."""
        return {
            "row": self.row, "given": self.label, "likely": self.likely,
            "given_probability": self.label_probability, "likely_probability": self.likely_probability,
        }


def doubtful(labels: np.ndarray, probabilities: np.ndarray) -> list[Doubt]:
    """Return the images whose predicted class confidently differs from their label; the most doubtful first.

    The network is confident in a class if its probability is at least the average probability of that class among the
    images that carry its label. A class that no image carries has no such average and is never likely.

    Args:
        labels: int64 [N], as in the data set.
        probabilities: [N, classes], of a network that was trained on none of these images.
    """
    images, classes = probabilities.shape
    rows = np.arange(images)
    own = probabilities[rows, labels]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=own, minlength=classes)
    threshold = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(probabilities >= threshold, probabilities, -1.0)
    likely = confident.argmax(axis=1)
    suspects = np.flatnonzero((confident[rows, likely] >= 0) & (likely != labels))
    margin = probabilities[suspects, likely[suspects]] - own[suspects]
    return [
        Doubt(row=row, label=int(labels[row]), likely=int(likely[row]), label_probability=round(float(own[row]), 6),
              likely_probability=round(float(probabilities[row, likely[row]]), 6))
        for row in suspects[np.argsort(-margin, kind="stable")].tolist()
    ]
