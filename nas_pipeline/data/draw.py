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


def stratified_groups(groups: Sequence[str], labels: np.ndarray, count: int, stream: str) -> np.ndarray:
    """Ascending indices of about `count` items that are whole groups, their classes near their shares in `labels`.

    Groups are gone through in the order of their hash; one is taken if that brings the drawn classes nearer to their
    quotas (sum of absolute differences). At least one group is taken, and at least one is left.

    Args:
        groups: The group of each item.
        labels: int64 [N].
        count: How many items to draw, as nearly as whole groups allow.
        stream: Name of the draw, with the seed in it.

    Raises:
        DataError: There are fewer than two groups.
    """
    names = sorted(set(groups), key=lambda name: sha256_text(f"{stream}/{name}"))
    if len(names) < 2:
        raise DataError(f"cannot draw from {len(names)} group(s) and leave one: a group stays in one split")
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
    """Items per class, by largest remainder; whole numbers only, so that no rounding differs between machines."""
    classes, sizes = np.unique(labels, return_counts=True)
    total = max(len(labels), 1)
    quota = {int(label): count * int(size) // total for label, size in zip(classes, sizes, strict=True)}
    remainder = {int(label): count * int(size) % total for label, size in zip(classes, sizes, strict=True)}
    short = count - sum(quota.values())
    for label in sorted(quota, key=lambda label: (-remainder[label], label))[:short]:
        quota[label] += 1
    return quota
