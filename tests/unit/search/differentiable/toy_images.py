"""Small images for searches that take seconds: noise of two mean values, and bars that only a wide window can pair."""

from __future__ import annotations

import numpy as np

from nas_pipeline.core.records import DatasetManifest, InputSpec
from nas_pipeline.data.loaders import SearchData, Split

HEIGHT, WIDTH = 6, 16
NEAR, FAR = 5, 8
"""Distances of two bars in pixels: a window of 6 covers a near pair, one of 5 does not; one of 8 covers no far pair."""


def _data(images: np.ndarray, labels: np.ndarray, name: str) -> SearchData:
    height, width = images.shape[1:3]
    spec = InputSpec(channels=1, height=height, width=width, classes=int(labels.max()) + 1)
    counts = {"train": len(labels), "val": 2, "calib": 0, "test": 0}
    manifest = DatasetManifest(name, f"{name}-{len(labels)}", spec, counts, tuple(map(str, range(spec.classes))),
                               (float(images.mean()) / 255,), (float(images.std()) / 255,))
    # Validation images of which no batch can be made: a search must not read them.
    invalid = Split(np.zeros((2, 1, 1, 7), dtype=np.uint8), np.full(2, 99))
    return SearchData(manifest, Split(images, labels), invalid)


def bars(count: int, seed: int) -> SearchData:
    """Two bright bars, `NEAR` apart in class 1 and `FAR` apart in class 0, at random columns, wrapped around."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    first = rng.integers(0, WIDTH, count)
    second = (first + np.where(labels == 1, NEAR, FAR)) % WIDTH
    images = rng.integers(0, 30, (count, HEIGHT, WIDTH, 1))
    for column in (first, second):
        images[np.arange(count), :, column] += 200
    return _data(images.astype(np.uint8), labels.astype(np.int64), "bars")


def shades(count: int, seed: int, side: int = 8) -> SearchData:
    """Noise, brighter in class 1 than in class 0: any network can learn it."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    images = rng.integers(0, 160, (count, side, side, 1)) + 60 * labels[:, None, None, None]
    return _data(images.astype(np.uint8), labels.astype(np.int64), "shades")
