"""The tables of validation: the manifest with derived columns, and a table with one row per class and split.

Great Expectations checks rows of tables, so properties that are not rows of the manifest need a table too (for example
a class without images).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nas_pipeline.data.perceptual import near_pairs

SPLITS_OF_IMAGE = "splits_of_image"
"""Number of splits that have an image with exactly the pixels of the row."""
LABEL_NAME_FITS = "label_name_fits"
"""Whether the name of the label is that of dataset.json."""
SPLITS_OF_GROUP = "splits_of_group"
"""Number of splits that have images of the group of the row; 1 if it has no group."""
SIZE_RATIO = "size_ratio"
"""Ratio of the pixels of the file to those of the median file, or its inverse if that is larger: at least 1."""
ASPECT = "aspect"
"""Ratio of the longer side of the file to the shorter."""
LOOK_ALIKES = "look_alikes"
"""Number of images in other splits that are near, but not exact, duplicates."""
DERIVED = (SPLITS_OF_IMAGE, LABEL_NAME_FITS, SPLITS_OF_GROUP, SIZE_RATIO, ASPECT, LOOK_ALIKES)


def image_table(manifest: pd.DataFrame, class_names: Sequence[str], near_bits: int) -> pd.DataFrame:
    """Return the manifest with the derived columns that can be computed from its columns.

    Args:
        manifest: The table of ingest; columns may be missing.
        class_names: Class names of dataset.json.
        near_bits: Largest number of differing bits of the perceptual hashes of near duplicates.
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
    pairs = pairs[pixels[pairs[:, 0]] != pixels[pairs[:, 1]]]  # exact duplicates have a separate rule
    return np.bincount(pairs.ravel(), minlength=len(table))


def class_table(manifest: pd.DataFrame, splits: Sequence[str], class_names: Sequence[str]) -> pd.DataFrame:
    """Return a table with one row per split and class: id (split/class), images, share, drift.

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
