"""Accuracy of the very file that ships, not of the network it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas_pipeline.errors import ExportError
from nas_pipeline.export.session import ALL_CORES, Images, open_session, predict


def accuracy(model: Path, images: Images, labels: npt.NDArray[np.integer]) -> float:
    """Top-1 accuracy in [0, 1] of an ONNX file on images [N, C, H, W] with labels [N].

    Raises:
        ExportError: Images and labels do not match, or the model does not take them.
    """
    if labels.shape != (len(images),):
        raise ExportError(f"{len(images)} images but labels of shape {labels.shape}: give one label per image")
    return float(np.mean(predict(open_session(model, threads=ALL_CORES), images).argmax(1) == labels))
