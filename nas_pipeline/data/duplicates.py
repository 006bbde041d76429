"""Exact copies of images: found by the sha256 of their pixels, so that none sits in two splits. Pure functions."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Deduplication:
    """Which training images stay, and what was found."""

    retained: np.ndarray
    """int64 indices into the training images, ascending."""
    counts: dict[str, int]
    """duplicates_within_train, duplicates_within_test, duplicates_train_test, conflicting_labels, dropped."""


def hash_images(images: np.ndarray) -> list[str]:
    """Hex sha256 of the pixels of each image of uint8 [N, H, W, C]."""
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in images]


def deduplicate(
    train: Sequence[str], train_labels: np.ndarray, test: Sequence[str], test_labels: np.ndarray
) -> Deduplication:
    """Drop the training copies of test images, and all but the first copy inside train.

    Copies inside test stay: the test split is the publisher's, and results must compare with those of others.

    Args:
        train: Image hashes of the training images, in their order.
        train_labels: int64 [N].
        test: Image hashes of the test images.
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
    """Copies beyond the first of each."""
    return sum(count - 1 for count in Counter(digests).values())
