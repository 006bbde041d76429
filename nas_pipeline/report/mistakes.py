"""Where the file that ships is wrong, on validation images: confusion matrix, accuracy by class, surest mistakes."""

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

_MOST_CLASSES = 40
_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Example:
    """A picture as a data URI, with what it is and what it was taken for."""

    picture: str
    label: str
    prediction: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Mistakes:
    """The validation images of one target."""

    images: int
    accuracy: float
    classes: list[str]
    matrix: list[list[int]]
    """Row: true class, column: prediction; empty where there are too many classes to read."""
    recall: list[tuple[str, int, int]]
    """(class, right, images), worst first."""
    pairs: list[tuple[str, str, int]]
    """(true class, taken for, how often), most frequent first."""
    examples: list[Example]


def mistakes(path: Path, class_names: Sequence[str]) -> Mistakes:
    """Read and count.

    Raises:
        ExportError: The file cannot be read, or does not go with these classes.
    """
    found = read_val_predictions(path)
    count = len(class_names)
    if len(found.labels) == 0 or max(found.labels.max(), found.predictions.max()) >= count:
        raise ExportError(f"{path} does not go with {count} classes: run the export stage again")
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (found.labels, found.predictions), 1)
    recall = [(name, int(matrix[i, i]), int(matrix[i].sum())) for i, name in enumerate(class_names)]
    wrong = [(int(matrix[i, j]), i, j) for i in range(count) for j in range(count) if i != j and matrix[i, j]]
    wrong.sort(key=lambda item: (-item[0], item[1], item[2]))
    return Mistakes(
        images=len(found.labels), accuracy=float((found.labels == found.predictions).mean()),
        classes=list(class_names), matrix=matrix.tolist() if count <= _MOST_CLASSES else [],
        recall=sorted(recall, key=lambda row: (row[1] / row[2] if row[2] else 2.0, row[0])),
        pairs=[(class_names[i], class_names[j], times) for times, i, j in wrong[:_PAIRS]],
        examples=[
            Example(data_uri(picture), class_names[found.labels[index]], class_names[found.predictions[index]],
                    float(found.confidence[index]))
            for index, picture in zip(found.mistakes, found.thumbnails, strict=True)
        ],
    )


def data_uri(picture: npt.NDArray[np.uint8]) -> str:
    """PNG of pixels [h, w, C]; of other than one or three channels the first is shown."""
    plain = picture if picture.shape[-1] == 3 else picture[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plain)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
