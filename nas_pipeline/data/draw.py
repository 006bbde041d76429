"""Stratified draws by hash: an image's place depends on its id and the seed, not on a generator's stream.

So a draw is the same on every machine and with every numpy, a smaller draw is part of a larger one, and images that
come later do not move those that are there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_pipeline.core.files import sha256_text
from nas_pipeline.errors import DataError


def stratified(ids: Sequence[str], labels: np.ndarray, count: int, stream: str) -> np.ndarray:
    """Ascending indices of `count` items whose classes have the shares that they have in `labels`.

    Args:
        ids: A name for each item, stable over time.
        labels: int64 [N].
        count: How many to draw.
        stream: Name of the draw, with the seed in it: draws of different names are independent.

    Raises:
        DataError: There are fewer than `count` items.
    """
    if not 0 <= count <= len(ids):
        raise DataError(f"cannot draw {count} of {len(ids)} images")
    rank = [sha256_text(f"{stream}/{name}") for name in ids]
    drawn: list[int] = []
    for label, quota in _quotas(labels, count).items():
        members = np.flatnonzero(labels == label).tolist()
        drawn += sorted(members, key=rank.__getitem__)[:quota]
    return np.array(sorted(drawn), dtype=np.int64)


def _quotas(labels: np.ndarray, count: int) -> dict[int, int]:
    """Items per class, by largest remainder; whole numbers only, so that no rounding differs between machines."""
    classes, sizes = np.unique(labels, return_counts=True)
    total = max(len(labels), 1)
    quota = {int(label): count * int(size) // total for label, size in zip(classes, sizes, strict=True)}
    remainder = {int(label): count * int(size) % total for label, size in zip(classes, sizes, strict=True)}
    short = count - sum(quota.values())
    for label in sorted(quota, key=lambda label: (-remainder[label], label))[:short]:
        quota[label] += 1
    return quota
