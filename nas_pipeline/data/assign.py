"""Assignment of images to splits. Groups are never divided, and splits of the source are preserved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_pipeline.data.draw import stratified, stratified_groups
from nas_pipeline.data.shards import SPLITS
from nas_pipeline.data.source import RawData
from nas_pipeline.errors import DataError

CountOrShare = int | float
"""A number of images, or as a float below 1 a share of all training images of the source."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Sizes of the splits that are cut from the training images. A split of that name in the source is used instead."""

    val: CountOrShare
    calib: CountOrShare
    test: CountOrShare
    limit: int | None
    """Largest number of training images (train, val and calib together); half as many test images; None: all."""
    seed: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """Split -> ascending indices of its images in the part `origin[split]` (`train` or `test`) of the source."""

    rows: dict[str, np.ndarray]
    origin: dict[str, str]


def assign(raw: RawData, usable: np.ndarray, cuts: Cuts) -> Assignment:
    """Draw the splits, stratified by class.

    Args:
        raw: The images.
        usable: Indices of the training images that may be used, ascending.
        cuts: Sizes of the splits.

    Raises:
        DataError: There are too few images, classes or groups for these sizes.
    """
    counts = {name: _count(getattr(cuts, name), len(usable)) for name in ("val", "calib", "test")}
    own_test = len(raw.test_labels) > 0
    pinned = _pinned(raw, usable)
    _check_counts(raw, usable, counts, cuts, own_test, pinned)
    _check_groups(raw, usable, 3 if own_test else 4)
    pool, rows = usable, {}
    if own_test:
        test = np.arange(len(raw.test_labels))
    else:
        free = np.setdiff1d(usable, np.concatenate([*pinned.values(), np.empty(0, dtype=np.int64)]))
        test = _draw(raw, "train", free, counts["test"], f"{cuts.seed}/test")
        pool = np.setdiff1d(usable, test)
    origin = dict.fromkeys(SPLITS, "train") | {"test": "test" if own_test else "train"}
    if cuts.limit is not None:
        pool = _draw(raw, "train", pool, min(cuts.limit, len(pool)), f"{cuts.seed}/limit")
        test = _draw(raw, origin["test"], test, min(cuts.limit // 2, len(test)), f"{cuts.seed}/limit")
    rows["test"] = test
    for split, index in pinned.items():
        rows[split] = np.intersect1d(pool, index)
        pool = np.setdiff1d(pool, index)
    for split in ("val", "calib"):
        if split not in rows:
            rows[split] = _draw(raw, "train", pool, counts[split], f"{cuts.seed}/{split}")
            pool = np.setdiff1d(pool, rows[split], assume_unique=True)
    rows["train"] = pool
    missing = set(range(len(raw.class_names))) - set(raw.train_labels[pool].tolist())
    if missing:
        raise DataError(
            f"{raw.name}: no image is left to train on of {', '.join(raw.class_names[label] for label in missing)}; "
            "lower val and calib or raise limit"
        )
    return Assignment(rows, origin)


def ids(raw: RawData, origin: str, index: np.ndarray) -> list[str]:
    """Return the ids of images: the names in the source, else origin and index, as train-000123."""
    details = raw.train_details if origin == "train" else raw.test_details
    if details is not None:
        return [details.files[row] for row in index.tolist()]
    return [f"{origin}-{row:06d}" for row in index.tolist()]


def _draw(raw: RawData, origin: str, index: np.ndarray, count: int, stream: str) -> np.ndarray:
    labels = (raw.train_labels if origin == "train" else raw.test_labels)[index]
    names = ids(raw, origin, index)
    groups = _groups(raw, origin, index, names)
    if count == len(index):
        return index
    if groups is None:
        return np.take(index, stratified(names, labels, count, stream))
    return np.take(index, stratified_groups(groups, labels, count, stream)) if count else index[:0]


def _groups(raw: RawData, origin: str, index: np.ndarray, names: list[str]) -> list[str] | None:
    """The group of each image, or a unique group if it has none; None if no image has a group."""
    details = raw.train_details if origin == "train" else raw.test_details
    if details is None or not any(details.groups):
        return None
    return [details.groups[row] or f"\0{name}" for row, name in zip(index.tolist(), names, strict=True)]


def _pinned(raw: RawData, usable: np.ndarray) -> dict[str, np.ndarray]:
    """The splits that the source defines within its training images."""
    if raw.train_details is None:
        return {}
    splits = np.array(raw.train_details.splits, dtype=object)[usable]
    return {split: usable[splits == split] for split in ("val", "calib") if (splits == split).any()}


def _count(amount: CountOrShare, images: int) -> int:
    return amount if isinstance(amount, int) else round(amount * images)


def _check_counts(
    raw: RawData, usable: np.ndarray, counts: dict[str, int], cuts: Cuts, own_test: bool, pinned: dict[str, np.ndarray]
) -> None:
    val, calib = (len(pinned[split]) if split in pinned else counts[split] for split in ("val", "calib"))
    test = 0 if own_test else counts["test"]
    limit = cuts.limit
    if min(val, calib, test) < 0 or val + calib + test >= len(usable) or (limit is not None and limit <= val + calib):
        amounts = f"val={val} and calib={calib}" if own_test else f"val={val}, calib={calib} and test={test}"
        raise DataError(
            f"{raw.name}: {amounts} images cannot be cut from {len(usable)} training images "
            f"(limit={limit}) and leave some to train on; lower val and calib or raise limit"
        )


def _check_groups(raw: RawData, usable: np.ndarray, splits: int) -> None:
    names = ids(raw, "train", usable)
    groups = _groups(raw, "train", usable, names)
    if groups is not None and len(set(groups)) < splits:
        raise DataError(f"{raw.name}: {len(set(groups))} group(s) cannot fill {splits} splits, as none is divided; "
                        "add images of other groups, or group more finely")
