"""Survey of a folder of images: images per class, size, colour or grey.

Only some of the files are opened. The result determines the proposed params.yaml of a new project.
"""

from __future__ import annotations

import io
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from nas_pipeline.data.decode import Shape, decode, own_limit
from nas_pipeline.data.sources.image_folder import ImageFolder
from nas_pipeline.errors import DataError

_SAMPLED = 60
"""Approximate number of files that are opened, spread over the classes."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Properties of a folder of images."""

    per_class: dict[str, int]
    """Number of images of each class, without those of a test folder."""
    has_test: bool
    short_side: int
    """Median over the opened files, in pixels."""
    coloured: bool

    @property
    def images(self) -> int:
        """Number of images, without those of a test folder."""
        return sum(self.per_class.values())


def survey(folder: Path) -> Survey:
    """Examine a folder with a sub-folder of images per class.

    Raises:
        DataError: The folder has another layout or fewer than two classes, or an opened file is not an image.
    """
    samples = ImageFolder(str(folder)).samples()
    trainable = [sample for sample in samples if sample.split != "test"]
    per_class = dict(sorted(Counter(sample.label for sample in trainable).items()))
    if len(per_class) < 2:
        raise DataError(f"{folder} has only one class, {', '.join(per_class)}; "
                        "make one sub-folder of images per class")
    sides, coloured = [], False
    with own_limit():
        for sample in trainable[:: max(1, len(trainable) // _SAMPLED)]:
            try:
                content = sample.read()
                pixels, size = decode(content, Shape(32, 3))
                mode = Image.open(io.BytesIO(content)).mode
            except DataError as error:
                raise DataError(f"{folder}: {sample.name} {error}") from error
            sides.append(min(size))
            spread = np.ptp(pixels.astype(np.int64), axis=2).mean()
            coloured |= bool(mode not in ("1", "L", "LA", "I", "F") and spread > 4)
    return Survey(per_class, len(trainable) < len(samples), int(statistics.median(sides)), coloured)
