"""The tables that validation looks at: the manifest with derived columns, and one row per class and split.

Great Expectations judges rows of tables; what is not a row of the manifest (a class with no image) is made one here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nas_pipeline.data.perceptual import near_pairs

SPLITS_OF_IMAGE = "splits_of_image"
"""Number of splits in which the very pixels of a row occur."""
LABEL_NAME_FITS = "label_name_fits"
"""Whether the label's name is the one that dataset.json gives it."""
SPLITS_OF_GROUP = "splits_of_group"
"""Number of splits in which images of a row's group occur; 1 where it has no group."""
SIZE_RATIO = "size_ratio"
"""Pixels of the row's file over those of the median file, or the other way round: 1 or more."""
ASPECT = "aspect"
"""The longer side of the row's file over the shorter."""
LOOK_ALIKES = "look_alikes"
"""Number of other images, in other splits, that are not the same but nearly so."""
DERIVED = (SPLITS_OF_IMAGE, LABEL_NAME_FITS, SPLITS_OF_GROUP, SIZE_RATIO, ASPECT, LOOK_ALIKES)


def image_table(manifest: pd.DataFrame, class_names: Sequence[str], near_bits: int) -> pd.DataFrame:
    """The manifest with the derived columns that its own columns allow.

    Args:
        manifest: As ingest wrote it, or damaged.
        class_names: Of dataset.json.
        near_bits: Bits in which the perceptual hashes of near copies may differ.
    """
    table = manifest.copy()
    if {"sha256", "split"} <= set(table):
        table[SPLITS_OF_IMAGE] = table.groupby("sha256")["split"].transform("nunique")
    if {"label", "label_name"} <= set(table):
        expected = table["label"].map(dict(enumerate(class_names)))
        table[LABEL_NAME_FITS] = table["label_name"] == expected
    if {"group", "split"} <= set(table):
        table[SPLITS_OF_GROUP] = table.groupby("group")["split"].transform("nunique").where(table["group"] != "", 1)
    if {"file_width", "file_height"} <= set(table):
        sides = table[["file_width", "file_height"]].astype("float64")
        ratio = sides.prod(axis=1) / sides.prod(axis=1).median()
        table[SIZE_RATIO] = np.maximum(ratio, 1 / ratio)
        table[ASPECT] = sides.max(axis=1) / sides.min(axis=1)
    if {"phash", "sha256", "split"} <= set(table):
        table[LOOK_ALIKES] = _look_alikes(table, near_bits)
    return table


def _look_alikes(table: pd.DataFrame, near_bits: int) -> np.ndarray:
    hashes, pixels = table["phash"].astype(str).tolist(), table["sha256"].to_numpy()
    pairs = near_pairs(hashes, near_bits, table["split"].astype(str).to_numpy())
    pairs = pairs[pixels[pairs[:, 0]] != pixels[pairs[:, 1]]]  # exact copies have a rule of their own
    return np.bincount(pairs.ravel(), minlength=len(table))


def class_table(manifest: pd.DataFrame, splits: Sequence[str], class_names: Sequence[str]) -> pd.DataFrame:
    """One row per split and class: id (split/class), images, share, drift.

    drift: the largest difference between the class's share in this split and its share in any other split.
    """
    labels = range(len(class_names))
    counts = pd.crosstab(manifest["split"], manifest["label"]).reindex(index=list(splits), columns=labels, fill_value=0)
    images = counts.to_numpy(dtype=np.int64)
    shares = images / np.maximum(images.sum(axis=1, keepdims=True), 1)
    drift = np.maximum(shares.max(axis=0) - shares, shares - shares.min(axis=0))
    return pd.DataFrame(
        {
            "id": [f"{split}/{name}" for split in splits for name in class_names],
            "images": images.ravel(),
            "share": shares.ravel(),
            "drift": drift.ravel(),
        }
    )
