"""The drift reference: histograms of the validation images and of the predictions of a file on them.

Devices report the same histograms of their own images. The reference belongs to a version like the golden vectors, and
is signed with its release, so devices are always compared with the validation images of their release.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.contract.drift import binned
from nas_pipeline.core.files import write_json
from nas_pipeline.export.val_predictions import ValPredictions

FILE = "drift.json"
_BATCH = 1024


def drift_reference(predictions: ValPredictions, images: npt.NDArray[np.uint8], classes: int) -> dict[str, Any]:
    """Compute the histograms.

    Args:
        predictions: Predictions of the file.
        images: Their images, uint8 [N, H, W, C].
        classes: Number of classes.

    Returns:
        Number of images, predictions per class, and binned confidence, mean and standard deviation.
    """
    mean, std = np.zeros(len(images)), np.zeros(len(images))
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        flat = images[part].reshape(len(images[part]), -1) / 255
        mean[part], std[part] = flat.mean(axis=1), flat.std(axis=1)
    return {
        "images": len(images), "classes": np.bincount(predictions.predictions, minlength=classes).tolist(),
        "confidence": binned("confidence", predictions.confidence.tolist()), "mean": binned("mean", mean.tolist()),
        "std": binned("std", std.tolist()),
    }


def write_drift_reference(folder: Path, sums: dict[str, Any]) -> None:
    """Write the reference to `folder`; equal content gives equal bytes."""
    write_json(folder / FILE, sums)
