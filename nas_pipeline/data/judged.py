"""The tables that validation looks at: the manifest with two derived columns, and one row per class and split.

Great Expectations judges rows of tables; what is not a row of the manifest (a class with no image) is made one here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

SPLITS_OF_IMAGE = "splits_of_image"
"""Number of splits in which the very pixels of a row occur."""
LABEL_NAME_FITS = "label_name_fits"
"""Whether the label's name is the one that dataset.json gives it."""


def image_table(manifest: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """The manifest with the derived columns that its own columns allow."""
    table = manifest.copy()
    if {"sha256", "split"} <= set(table):
        table[SPLITS_OF_IMAGE] = table.groupby("sha256")["split"].transform("nunique")
    if {"label", "label_name"} <= set(table):
        expected = table["label"].map(dict(enumerate(class_names)))
        table[LABEL_NAME_FITS] = table["label_name"] == expected
    return table


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
