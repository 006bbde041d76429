"""Image statistics for quality checks: brightness, darkness, entropy and sharpness, vectorised over images.

They are computed on the resized pixels that a network receives: a slightly blurred photograph is sharp at 64 pixels.
Source: the kinds of defects are those of CleanVision (Cleanlab, 2022); the measures are specific to small images.
"""

from __future__ import annotations

import numpy as np

_CHUNK = 2048
"""Images per step, which bounds the memory."""

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance (ITU-R BT.601)."""

_ROUNDING = 20 / 12
"""Variance that rounding to integers (variance 1/12) adds to the Laplacian (weights 4, 1, 1, 1, 1)."""


def grey(images: np.ndarray) -> np.ndarray:
    """Convert uint8 [N, H, W, C] to float32 [N, H, W] in 0..255: luminance of RGB, else the mean of the channels."""
    if images.shape[3] == 1:
        return images[..., 0].astype(np.float32)
    weights = np.array(_LUMA if images.shape[3] == 3 else [1 / images.shape[3]] * images.shape[3], dtype=np.float32)
    return np.asarray(images.astype(np.float32) @ weights)


def image_statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the statistics of images uint8 [N, H, W, C]; each is float64 [N].

    brightest: 99th percentile of the luminance, in 0..1; small in a dark image.
    darkest: 5th percentile of the luminance, in 0..1; large in an over-exposed image.
    entropy: entropy of the histogram of the luminance in 256 bins, in bits; small in an image with little information.
    sharpness: standard deviation of the Laplacian over that of the luminance; small in a blurred image at any
    contrast (Pech-Pacheco et al., ICPR 2000, use the variance without the ratio). 0 in an image of one colour.
    """
    parts = [_of_chunk(grey(images[start : start + _CHUNK])) for start in range(0, len(images), _CHUNK)]
    names = ("brightest", "darkest", "entropy", "sharpness")
    if not parts:
        return {name: np.empty(0) for name in names}
    return dict(zip(names, np.concatenate(parts, axis=1), strict=True))


def _of_chunk(values: np.ndarray) -> np.ndarray:
    """float64 [4, n]."""
    count, pixels = len(values), values[0].size
    bins = np.rint(values).astype(np.int64).reshape(count, pixels) + 256 * np.arange(count)[:, None]
    histogram = np.bincount(bins.ravel(), minlength=256 * count).reshape(count, 256)
    below = histogram.cumsum(axis=1)
    brightest = (below >= 0.99 * pixels).argmax(axis=1) / 255
    darkest = (below >= 0.05 * pixels).argmax(axis=1) / 255
    share = histogram / pixels
    entropy = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)
    return np.stack([brightest, darkest, np.abs(entropy), _sharpness(values)])


def _sharpness(values: np.ndarray) -> np.ndarray:
    """float64 [n]."""
    middle = values[:, 1:-1, 1:-1]
    laplacian = (values[:, :-2, 1:-1] + values[:, 2:, 1:-1] + values[:, 1:-1, :-2] + values[:, 1:-1, 2:]) - 4 * middle
    contrast = values.std(axis=(1, 2), dtype=np.float64)
    edges = np.maximum(laplacian.var(axis=(1, 2), dtype=np.float64) - _ROUNDING, 0)
    return np.asarray(np.sqrt(edges) / np.where(contrast > 0, contrast, 1.0))
