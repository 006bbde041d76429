"""Sources for tests, with explicit data sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_pipeline.data.source import RawData


@dataclass
class FixedSource:
    raw: RawData

    def load(self) -> RawData:
        return self.raw


def noise(count: int, side: int = 6, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(count, side, side, channels), dtype=np.uint8)


def raw(
    train: np.ndarray, train_labels: list[int], test: np.ndarray, test_labels: list[int], classes: int = 2
) -> RawData:
    return RawData(
        name="given",
        class_names=tuple(f"class{label}" for label in range(classes)),
        train_images=train,
        train_labels=np.array(train_labels, dtype=np.int64),
        test_images=test,
        test_labels=np.array(test_labels, dtype=np.int64),
        provenance={"found": "in the test"},
    )
