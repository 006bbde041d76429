"""Synthetic gratings whose orientation is the class, generated from a seed. For tests and demonstrations only."""

from __future__ import annotations

import numpy as np

from nas_pipeline.core.files import sha256_text
from nas_pipeline.data.source import RawData
from nas_pipeline.errors import ConfigError


class Synthetic:
    """`train` + `test` images of `side` x `side` x `channels`; `noise` is the standard deviation in pixel / 255."""

    name = "synthetic"
    version = 1

    def __init__(
        self,
        train: int = 2000,
        test: int = 500,
        classes: int = 4,
        side: int = 16,
        channels: int = 1,
        seed: int = 0,
        noise: float = 0.15,
    ) -> None:
        if min(train, test) < classes or classes < 2 or side < 4 or channels < 1 or noise < 0:
            raise ConfigError(
                "source 'synthetic' needs at least 2 classes, one image per class in train and test, side >= 4, "
                f"channels >= 1 and noise >= 0; got train={train}, test={test}, classes={classes}, side={side}, "
                f"channels={channels}, noise={noise}"
            )
        self._counts = {"train": train, "test": test}
        self._classes = classes
        self._side = side
        self._channels = channels
        self._seed = seed
        self._noise = noise

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "train": self._counts["train"],
            "test": self._counts["test"],
            "classes": self._classes,
            "side": self._side,
            "channels": self._channels,
            "seed": self._seed,
            "noise": self._noise,
        }}

    def load(self) -> RawData:
        """Generate the images; equal options give equal pixels."""
        train_images, train_labels = self._draw("train")
        test_images, test_labels = self._draw("test")
        return RawData(
            name="synthetic",
            class_names=tuple(f"angle-{round(180 * label / self._classes):03d}" for label in range(self._classes)),
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            provenance={"found": "drawn from a seed", "seed": self._seed, "noise": self._noise},
        )

    def _draw(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        count = self._counts[split]
        stream = np.random.default_rng(int(sha256_text(f"{self._seed}/synthetic/{split}")[:16], 16))
        labels = stream.permutation(np.arange(count, dtype=np.int64) % self._classes)
        angle = np.pi * labels / self._classes
        phase = stream.uniform(0.0, 2.0 * np.pi, size=(count, 1, 1))
        waves = stream.uniform(1.5, 2.5, size=(count, 1, 1))
        rows, columns = np.mgrid[0 : self._side, 0 : self._side] / self._side
        along = columns * np.cos(angle)[:, None, None] + rows * np.sin(angle)[:, None, None]
        grating = 0.5 + 0.35 * np.sin(2.0 * np.pi * waves * along + phase)
        noise = stream.normal(0.0, self._noise, size=(*grating.shape, self._channels))
        pixels = np.clip(grating[..., None] + noise, 0.0, 1.0)
        return np.rint(pixels * 255.0).astype(np.uint8), labels
