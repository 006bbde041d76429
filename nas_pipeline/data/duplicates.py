"""Removal of exact duplicates, identified by the sha256 of the pixels, so that no image is in two splits.

Pure functions.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Deduplication:
    """The training images that remain, and the numbers of duplicates."""

    retained: np.ndarray
    """int64 indices into the training images, ascending."""
    counts: dict[str, int]
    """duplicates_within_train, duplicates_within_test, duplicates_train_test, conflicting_labels, dropped."""


def hash_images(images: np.ndarray) -> list[str]:
    """Return the hex sha256 of the pixels of each image of uint8 [N, H, W, C]."""
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in images]


def deduplicate(
    train: Sequence[str], train_labels: np.ndarray, test: Sequence[str], test_labels: np.ndarray
) -> Deduplication:
    """Remove training images that are also test images, and all but the first copy within the training images.

    Duplicates within the test images stay, so that results on a published test split remain comparable.

    Args:
        train: Hashes of the training images, in their order.
        train_labels: int64 [N].
        test: Hashes of the test images.
        test_labels: int64 [M].
    """
    in_test = set(test)
    seen: set[str] = set()
    retained: list[int] = []
    for index, digest in enumerate(train):
        if digest not in seen and digest not in in_test:
            retained.append(index)
        seen.add(digest)
    labels_of: defaultdict[str, set[int]] = defaultdict(set)
    for digest, label in zip([*train, *test], [*train_labels.tolist(), *test_labels.tolist()], strict=True):
        labels_of[digest].add(label)
    return Deduplication(
        retained=np.array(retained, dtype=np.int64),
        counts={
            "duplicates_within_train": _surplus(train),
            "duplicates_within_test": _surplus(test),
            "duplicates_train_test": sum(digest in in_test for digest in train),
            "conflicting_labels": sum(len(labels) > 1 for labels in labels_of.values()),
            "dropped": len(train) - len(retained),
        },
    )


def _surplus(digests: Sequence[str]) -> int:
    """Number of copies beyond the first of each image."""
    return sum(count - 1 for count in Counter(digests).values())
