"""What the stages read of an ingested folder. Nothing here opens the test split or leads to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas_pipeline.core.files import read_json
from nas_pipeline.core.records import DatasetManifest
from nas_pipeline.data.shards import Split, read_shard
from nas_pipeline.errors import DataError

__all__ = ["SearchData", "Split", "load_calib", "load_manifest", "load_search_data", "normalise"]


@dataclass(frozen=True, slots=True)
class SearchData:
    """All that a search may see: weights are fitted on train, choices are made on val."""

    manifest: DatasetManifest
    train: Split
    val: Split


def load_manifest(folder: Path) -> DatasetManifest:
    """The identity of an ingested data set, from dataset.json.

    Raises:
        DataError: The file is missing or is not a manifest.
    """
    path = folder / "dataset.json"
    try:
        return DatasetManifest.from_json(read_json(path))
    except FileNotFoundError as error:
        raise DataError(f"there is no {path}; run the ingest stage") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a data set manifest ({error}); run the ingest stage again") from error


def load_search_data(folder: Path) -> SearchData:
    """Open dataset.json, train.npz and val.npz, and no other file.

    Raises:
        DataError: One of them is missing or is not what ingest wrote.
    """
    manifest = load_manifest(folder)
    return SearchData(manifest, read_shard(folder, "train", manifest), read_shard(folder, "val", manifest))


def load_val(folder: Path) -> Split:
    """Images that choose, and nothing else.

    Raises:
        DataError: The shard is missing or is not what ingest wrote.
    """
    return read_shard(folder, "val", load_manifest(folder))


def load_calib(folder: Path) -> Split:
    """Images for the ranges of INT8 quantisation: neither trained on nor used for a choice.

    Raises:
        DataError: The shard is missing or is not what ingest wrote.
    """
    return read_shard(folder, "calib", load_manifest(folder))


def normalise(images: np.ndarray, manifest: DatasetManifest) -> np.ndarray:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W], contiguous: (x / 255 - mean) / std, per channel of the train split.

    Raises:
        DataError: The images are not of the data set's type and number of channels.
    """
    channels = manifest.spec.channels
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels:
        raise DataError(
            f"{manifest.name} takes uint8 images [N, H, W, {channels}], got {images.dtype} {list(images.shape)}"
        )
    mean = (np.array(manifest.mean, dtype=np.float32) * 255).reshape(1, -1, 1, 1)
    scale = 1 / (np.array(manifest.std, dtype=np.float32) * 255).reshape(1, -1, 1, 1)
    values = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    values -= mean
    values *= scale
    return values
