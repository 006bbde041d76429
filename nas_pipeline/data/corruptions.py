"""A small fixed set of image corruptions to measure the robustness of a model file. They are never used in training.

In the manner of Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", arXiv:1903.12261. Differences: six cheap corruptions at one mild strength each instead of fifteen at
five; blur, shift and rotation scale with the side of the image; shift and rotation are not in the paper (they stand
for a camera that is mounted askew). All constants are fixed: a corruption of another strength needs another name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

ImagePixels = npt.NDArray[np.uint8]
"""Images [N, H, W, C]."""

MAX_IMAGES = 2000
"""Number of images drawn from a larger split: the mean over six corruptions is then known to half a point."""

_SEED = 1903
_NOISE_SD = 0.08
_BRIGHTER = 0.2
_CONTRAST = 0.4
_BLUR_SHARE = 0.02
_SHIFT_SHARE = 0.07
_ROTATION_DEGREES = 10.0


def _gaussian_noise(images: ImagePixels, rng: np.random.Generator) -> ImagePixels:
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    return _clipped(images + 255 * _NOISE_SD * noise)


def _blur(images: ImagePixels, rng: np.random.Generator) -> ImagePixels:
    sigma = max(0.5, _BLUR_SHARE * min(images.shape[1:3]))
    radius = max(1, round(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    blurred = images.astype(np.float32)
    for axis in (1, 2):
        width = [(radius, radius) if dimension == axis else (0, 0) for dimension in range(4)]
        padded = np.pad(blurred, width, mode="edge")
        side = images.shape[axis]
        slices = [np.take(padded, np.arange(start, start + side), axis) for start in range(2 * radius + 1)]
        shares = (weights / weights.sum()).astype(np.float32)
        blurred = np.sum([share * part for share, part in zip(shares, slices, strict=True)], axis=0, dtype=np.float32)
    return _clipped(blurred)


def _contrast(images: ImagePixels, rng: np.random.Generator) -> ImagePixels:
    means = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return _clipped((images - means) * _CONTRAST + means)


def _brightness(images: ImagePixels, rng: np.random.Generator) -> ImagePixels:
    return _clipped(images + np.float32(255 * _BRIGHTER))


def _shift(images: ImagePixels, rng: np.random.Generator) -> ImagePixels:
    """Shift down and to the right; the border is repeated."""
    height, width = images.shape[1:3]
    down, right = max(1, round(_SHIFT_SHARE * height)), max(1, round(_SHIFT_SHARE * width))
    rows, columns = np.maximum(np.arange(height) - down, 0), np.maximum(np.arange(width) - right, 0)
    return images[:, rows][:, :, columns]


def _rotation(images: ImagePixels, rng: np.random.Generator) -> ImagePixels:
    """Rotate about the centre with nearest-pixel sampling; the border is repeated."""
    height, width = images.shape[1:3]
    angle = np.deg2rad(_ROTATION_DEGREES)
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2]).reshape(2, 1, 1)
    rows = np.rint(np.cos(angle) * y - np.sin(angle) * x + (height - 1) / 2).astype(int).clip(0, height - 1)
    columns = np.rint(np.sin(angle) * y + np.cos(angle) * x + (width - 1) / 2).astype(int).clip(0, width - 1)
    return images[:, rows, columns]


Corruption = Callable[[ImagePixels, np.random.Generator], ImagePixels]
"""Function of images and a random generator that returns corrupted copies."""

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": _gaussian_noise, "blur": _blur, "contrast": _contrast, "brightness": _brightness,
    "shift": _shift, "rotation": _rotation,
}


def corrupt(name: str, images: ImagePixels) -> ImagePixels:
    """Return corrupted copies of images [N, H, W, C]; equal arguments give equal copies on every machine."""
    return CORRUPTIONS[name](images, np.random.default_rng([_SEED, list(CORRUPTIONS).index(name)]))


def corrupted_subset(count: int) -> npt.NDArray[np.int64]:
    """Return the ascending indices of the images to corrupt: all, or `MAX_IMAGES` drawn from `count`."""
    if count <= MAX_IMAGES:
        return np.arange(count, dtype=np.int64)
    return np.sort(np.random.default_rng(_SEED).permutation(count)[:MAX_IMAGES]).astype(np.int64)


def _clipped(values: npt.NDArray[Any]) -> ImagePixels:
    pixels: ImagePixels = np.rint(values.clip(0, 255)).astype(np.uint8)
    return pixels
