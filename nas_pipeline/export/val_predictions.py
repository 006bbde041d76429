"""Predictions of the file that ships on the validation images, with thumbnails of the most confident mistakes.

The images are from the validation split, never from the test split, as people may act on them.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import ExportError
from nas_pipeline.export.session import ImageBatch, open_session, predict

FILE = "val_predictions.npz"
_MISTAKES = 24
_SIDE = 64


@dataclass(frozen=True, slots=True)
class ValPredictions:
    """Per validation image: label and prediction int64 [N], confidence float32 [N] (softmax of the prediction).

    The most confident mistakes, in descending order: index [M], and thumbnails uint8 [M, h, w, C] of at most 64 pixels.
    """

    labels: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32]
    mistakes: npt.NDArray[np.int64]
    thumbnails: npt.NDArray[np.uint8]


def predict_val(
    model: Path, images: ImageBatch, labels: npt.NDArray[np.int64], raw: npt.NDArray[np.uint8]
) -> ValPredictions:
    """Run `model` on normalised `images` [N, C, H, W]; `raw` [N, H, W, C] are the same images as pixels.

    Raises:
        ExportError: The model does not accept the images.
    """
    logits = predict(open_session(model), images).astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = (odds.max(axis=1) / odds.sum(axis=1)).astype(np.float32)
    predicted = logits.argmax(axis=1).astype(np.int64)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES].astype(np.int64)
    return ValPredictions(labels.astype(np.int64), predicted, confidence, surest, _thumbnails(raw[surest]))


def write_val_predictions(folder: Path, content: ValPredictions) -> None:
    """Write the predictions to `folder`; equal content gives equal bytes."""
    with atomic_path(folder / FILE) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, labels=content.labels, predictions=content.predictions, confidence=content.confidence,
            mistakes=content.mistakes, thumbnails=content.thumbnails,
        )


def read_val_predictions(path: Path) -> ValPredictions:
    """Read the file of `write_val_predictions`.

    Raises:
        ExportError: The file cannot be read.
    """
    names = ("labels", "predictions", "confidence", "mistakes", "thumbnails")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return ValPredictions(*(arrays[name] for name in names))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ExportError(f"{path} cannot be read ({error}): run the export stage again") from error


def _thumbnails(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width, channels = raw.shape[1:]
    scale = min(1.0, _SIDE / max(height, width))
    if scale == 1.0 or channels not in (1, 3):
        return raw
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = [np.asarray(Image.fromarray(image.squeeze(-1) if channels == 1 else image).resize(size)) for image in raw]
    return np.stack(small).reshape(len(raw), size[1], size[0], channels) if small else raw[:0]
