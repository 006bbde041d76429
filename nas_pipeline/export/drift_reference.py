"""What a file said of the validation images, and how these look, as the sums that a device tells of its own images.

It belongs to the version as the golden vectors do, and is signed with its release: whatever the workspace does
afterwards, devices are compared with the images that their release was judged on.
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
    """`images` uint8 [N, H, W, C], those that `said` is about, of so many classes."""
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
    """Write it; equal content gives equal bytes."""
    write_json(folder / FILE, sums)
