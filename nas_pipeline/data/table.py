"""The manifest table, with one row per image in the order of the shards, and the digest of the data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nas_pipeline.core.files import atomic_path, canonical_json, sha256_text
from nas_pipeline.errors import DataError

COLUMNS = (
    "id", "split", "group", "label", "label_name", "sha256", "phash", "width", "height", "channels", "file_width",
    "file_height", "mean", "std", "brightest", "darkest", "entropy", "sharpness", "decoded", "source",
)
"""id: name of the image in the source, else origin and index, as train-000123. group: empty if there is
none. phash: see perceptual.py. width, height: in the shard; file_width, file_height: of the file. mean, std: of the
image, in pixel / 255. brightest to sharpness: see image_stats.py. decoded: whether the shard has the same pixels."""

_CHUNK = 4096
"""Images per step, which bounds the memory."""


def pixel_sums(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact sums and sums of squares of pixels uint8 [N, H, W, C] per image and channel: two int64 [N, C]."""
    count, height, width, channels = images.shape
    flat = images.reshape(count, height * width, channels)
    sums = np.empty((count, channels), dtype=np.int64)
    squares = np.empty((count, channels), dtype=np.int64)
    for start in range(0, count, _CHUNK):
        chunk = flat[start : start + _CHUNK].astype(np.uint32)
        sums[start : start + _CHUNK] = chunk.sum(axis=1, dtype=np.int64)
        squares[start : start + _CHUNK] = np.square(chunk).sum(axis=1, dtype=np.int64)
    return sums, squares


def moments(sums: np.ndarray, squares: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation in units of pixel / 255, from exact sums over `pixels` pixels.

    A constant image has a standard deviation of exactly 0.
    """
    sums, squares = sums.astype(object), squares.astype(object)  # Python's whole numbers: no overflow, no rounding
    variance = (pixels * squares - sums * sums) / (pixels * pixels)
    return (sums / pixels).astype(np.float64) / 255, np.sqrt(variance.astype(np.float64)) / 255


def table_digest(table: pd.DataFrame) -> str:
    """Return the identity of the data set: hex sha256 of the sorted rows (id, split, label, sha256)."""
    rows = zip(table["id"], table["split"], table["label"].tolist(), table["sha256"], strict=True)
    return sha256_text("\n".join(sorted(canonical_json(list(row)) for row in rows)))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table; equal tables give equal files."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, engine="pyarrow", compression="zstd", index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read a manifest table.

    Raises:
        DataError: The file is missing or is not a parquet file.
    """
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run the ingest stage") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a parquet file ({error}); run the ingest stage again") from error
