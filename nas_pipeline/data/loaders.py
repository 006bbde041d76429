"""Loading of an ingested data set. This module cannot read the test split."""

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
    """The data of a search: weights are fitted on train, choices are made on val."""

    manifest: DatasetManifest
    train: Split
    val: Split


def load_manifest(folder: Path) -> DatasetManifest:
    """Read the manifest of an ingested data set, dataset.json.

    Raises:
        DataError: The file is missing or is not a manifest.
    """
    path = folder / "dataset.json"
    try:
        return DatasetManifest.from_json(read_json(path))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run the ingest stage") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a data set manifest ({error}); run the ingest stage again") from error


def load_search_data(folder: Path) -> SearchData:
    """Read dataset.json, train.npz and val.npz.

    Raises:
        DataError: A file is missing or was changed after ingest.
    """
    manifest = load_manifest(folder)
    return SearchData(manifest, read_shard(folder, "train", manifest), read_shard(folder, "val", manifest))


def load_val(folder: Path) -> Split:
    """Read the validation split.

    Raises:
        DataError: The shard is missing or was changed after ingest.
    """
    return read_shard(folder, "val", load_manifest(folder))


def load_calib(folder: Path) -> Split:
    """Read the images for INT8 calibration, which are used neither for training nor for choices.

    Raises:
        DataError: The shard is missing or was changed after ingest.
    """
    return read_shard(folder, "calib", load_manifest(folder))


def normalise(images: np.ndarray, manifest: DatasetManifest) -> np.ndarray:
    """Convert uint8 [N, H, W, C] to contiguous float32 [N, C, H, W]: (x / 255 - mean) / std per channel.

    Mean and standard deviation are those of the train split.

    Raises:
        DataError: The images differ from the data set in type or number of channels.
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
