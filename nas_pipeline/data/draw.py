"""Stratified draws by hash: whether an image is drawn depends on its id and the seed, not on a random generator.

A draw is therefore equal on every machine and with every version of numpy, a smaller draw is a subset of a larger one,
and new images hardly change which of the existing images are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_pipeline.core.files import sha256_text
from nas_pipeline.errors import DataError


def stratified(ids: Sequence[str], labels: np.ndarray, count: int, stream: str) -> np.ndarray:
    """Draw `count` items with the class shares of `labels`, and return their ascending indices.

    Args:
        ids: A name for each item, stable over time.
        labels: int64 [N].
        count: Number of items to draw.
        stream: Name of the draw, including the seed; draws of different names are independent.

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


def stratified_groups(groups: Sequence[str], labels: np.ndarray, count: int, stream: str) -> np.ndarray:
    """Draw whole groups of about `count` items with class shares near those of `labels`; returns ascending indices.

    Groups are visited in the order of their hash. A group is drawn if the class counts thereby come closer to their
    quotas (sum of absolute differences). At least one group is drawn, and at least one is not.

    Args:
        groups: The group of each item.
        labels: int64 [N].
        count: Number of items to draw, approximately.
        stream: Name of the draw, including the seed.

    Raises:
        DataError: There are fewer than two groups.
    """
    names = sorted(set(groups), key=lambda name: sha256_text(f"{stream}/{name}"))
    if len(names) < 2:
        raise DataError(f"cannot draw from {len(names)} group(s) and leave one, as a group stays in one split")
    classes, index = np.unique(labels, return_inverse=True)
    rank = {name: position for position, name in enumerate(names)}
    member = np.array([rank[name] for name in groups], dtype=np.int64)
    content = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(content, (member, index), 1)
    open_quota = np.array([_quotas(labels, count)[int(label)] for label in classes], dtype=np.int64)
    chosen: list[int] = []
    for position, counts in enumerate(content):
        if len(chosen) + 1 < len(names) and np.abs(open_quota - counts).sum() < np.abs(open_quota).sum():
            chosen.append(position)
            open_quota -= counts
    if not chosen:
        chosen = [int(np.abs(open_quota - content).sum(axis=1).argmin())]
    return np.flatnonzero(np.isin(member, chosen)).astype(np.int64)


def _quotas(labels: np.ndarray, count: int) -> dict[int, int]:
    """Items per class by the largest remainder method, in integers, so that rounding is equal on all machines."""
    classes, sizes = np.unique(labels, return_counts=True)
    total = max(len(labels), 1)
    quota = {int(label): count * int(size) // total for label, size in zip(classes, sizes, strict=True)}
    remainder = {int(label): count * int(size) % total for label, size in zip(classes, sizes, strict=True)}
    short = count - sum(quota.values())
    for label in sorted(quota, key=lambda label: (-remainder[label], label))[:short]:
        quota[label] += 1
    return quota
