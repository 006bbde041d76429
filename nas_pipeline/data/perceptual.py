"""Perceptual hashes and pairs of images with similar hashes, vectorised over images.

Source: Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), section 3.2.1 (DCT hash),
with 16 x 16 low frequencies instead of 8 x 8: 64 bits do not distinguish small images of one class.
"""

from __future__ import annotations

import numpy as np

from nas_pipeline.data.image_stats import grey

_SIDE = 32
_LOW = 16
BITS = _LOW * _LOW
_CHUNK = 4096


def perceptual_hashes(images: np.ndarray) -> list[str]:
    """Hash each image of uint8 [N, H, W, C] to 64 hex digits: which low frequencies are above their median."""
    rows, columns = _low_frequencies(images.shape[1]), _low_frequencies(images.shape[2])
    hashes: list[str] = []
    for start in range(0, len(images), _CHUNK):
        values = np.round(rows @ grey(images[start : start + _CHUNK]) @ columns.T, 2).reshape(-1, BITS)
        values[:, 0] = 0.0  # the mean brightness is not part of the content
        bits = values > np.median(values, axis=1, keepdims=True)
        hashes += [row.tobytes().hex() for row in np.packbits(bits, axis=1)]
    return hashes


def near_pairs(hashes: list[str], most_bits: int, kinds: np.ndarray) -> np.ndarray:
    """Pairs of items of different kinds whose hashes differ in at most `most_bits` bits: int64 [P, 2] ascending.

    Only pairs that agree in one of eight bands of 16 low frequencies are compared. These are all pairs whose 64 lowest
    frequencies differ in at most three bits, and most pairs that differ in six. Copies that were re-encoded, brightened
    or resized differ in two bits at the median. Comparing all pairs of 70,000 images would take minutes.

    Args:
        hashes: Results of `perceptual_hashes`.
        most_bits: 0 to 256.
        kinds: [N]; pairs of one kind are of no interest, such as images of one split.
    """
    raw = np.array([list(bytes.fromhex(item)) for item in hashes], dtype=np.uint8).reshape(len(hashes), BITS // 8)
    words = np.ascontiguousarray(raw).view(np.uint64)
    kind = np.unique(kinds, return_inverse=True)[1]
    pairs = [np.empty((0, 2), dtype=np.int64)]
    lowest = np.unpackbits(raw, axis=1).reshape(len(hashes), _LOW, _LOW)[:, :8, :8].reshape(len(hashes), 64)
    bands = [*(slice(first, None, 4) for first in range(4)), *(slice(first, first + 16) for first in range(0, 64, 16))]
    for band in bands:
        key = np.packbits(lowest[:, band], axis=1).astype(np.int64)
        pairs += _near_within(key[:, 0] * 256 + key[:, 1], words, kind, most_bits)
    return np.unique(np.concatenate(pairs), axis=0)


def _near_within(bucket: np.ndarray, words: np.ndarray, kind: np.ndarray, most_bits: int) -> list[np.ndarray]:
    """Near pairs within a bucket: each item is compared with the items 1, 2, 3, ... positions later in its bucket."""
    order = np.argsort(bucket, kind="stable")
    ranked = bucket[order]
    pairs, here = [], np.arange(len(order))
    for step in range(1, len(order)):
        here = here[here + step < len(order)]
        here = here[ranked[here] == ranked[here + step]]
        if not len(here):
            break
        left, right = order[here], order[here + step]
        mixed = kind[left] != kind[right]
        left, right = left[mixed], right[mixed]
        near = np.bitwise_count(words[left] ^ words[right]).sum(axis=1) <= most_bits
        pairs.append(np.sort(np.stack([left[near], right[near]], axis=1), axis=1))
    return pairs


def _low_frequencies(size: int) -> np.ndarray:
    """float32 [16, size]: the first rows of the DCT-II of a line that is resampled from `size` to 32 values."""
    wave = np.cos(np.pi * np.arange(_LOW)[:, None] * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE))
    edges = np.arange(_SIDE + 1) * size / _SIDE
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    resample = np.clip(overlap, 0, None) * _SIDE / size
    return np.asarray(wave @ resample, dtype=np.float32)
