"""Errors of a shipped file on validation images: confusion matrix, recall by class, most confident errors."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from nas_pipeline.errors import ExportError
from nas_pipeline.export.val_predictions import read_val_predictions

_MAX_CLASSES = 40
_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Example:
    """An image as a data URI, with its label and its prediction."""

    picture: str
    label: str
    prediction: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Mistakes:
    """The errors of one file on the validation images."""

    images: int
    accuracy: float
    classes: list[str]
    matrix: list[list[int]]
    """Row: true class, column: prediction; empty where there are too many classes to display."""
    recall: list[tuple[str, int, int]]
    """(class, correct, images), lowest recall first."""
    pairs: list[tuple[str, str, int]]
    """(true class, predicted class, count), most frequent first."""
    examples: list[Example]


def mistakes(path: Path, class_names: Sequence[str]) -> Mistakes:
    """Returns the errors recorded in a file of validation predictions.

    Raises:
        ExportError: The file cannot be read, or has other classes.
    """
    recorded = read_val_predictions(path)
    count = len(class_names)
    if len(recorded.labels) == 0 or max(recorded.labels.max(), recorded.predictions.max()) >= count:
        raise ExportError(f"{path} does not match {count} classes: run the export stage again")
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (recorded.labels, recorded.predictions), 1)
    recall = [(name, int(matrix[i, i]), int(matrix[i].sum())) for i, name in enumerate(class_names)]
    wrong = [(int(matrix[i, j]), i, j) for i in range(count) for j in range(count) if i != j and matrix[i, j]]
    wrong.sort(key=lambda item: (-item[0], item[1], item[2]))
    return Mistakes(
        images=len(recorded.labels), accuracy=float((recorded.labels == recorded.predictions).mean()),
        classes=list(class_names), matrix=matrix.tolist() if count <= _MAX_CLASSES else [],
        recall=sorted(recall, key=lambda row: (row[1] / row[2] if row[2] else 2.0, row[0])),
        pairs=[(class_names[i], class_names[j], times) for times, i, j in wrong[:_PAIRS]],
        examples=[
            Example(data_uri(picture), class_names[recorded.labels[index]], class_names[recorded.predictions[index]],
                    float(recorded.confidence[index]))
            for index, picture in zip(recorded.mistakes, recorded.thumbnails, strict=True)
        ],
    )


def data_uri(picture: npt.NDArray[np.uint8]) -> str:
    """Returns pixels [H, W, C] as a PNG data URI; the first channel alone unless there are three."""
    plain = picture if picture.shape[-1] == 3 else picture[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plain)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
