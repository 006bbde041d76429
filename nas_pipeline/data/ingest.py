"""Ingestion: writes the data set of a source as shards, manifest table and dataset.json. Equal arguments, equal bytes.

dataset.json is written last and contains the checksums of the shards, so reading detects an incomplete folder.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from nas_pipeline.core.files import write_json
from nas_pipeline.core.records import DatasetManifest, InputSpec
from nas_pipeline.data.assign import CountOrShare, Cuts, assign, ids
from nas_pipeline.data.duplicates import deduplicate, hash_images
from nas_pipeline.data.image_stats import image_statistics
from nas_pipeline.data.perceptual import perceptual_hashes
from nas_pipeline.data.shards import SPLITS, Split, read_shard, write_shard
from nas_pipeline.data.source import DataSource, RawData
from nas_pipeline.data.table import COLUMNS, moments, pixel_sums, table_digest, write_table
from nas_pipeline.errors import DataError

log = logging.getLogger(__name__)

_LOCATION_KEY = "found"
"""Key of the provenance that may differ between machines; it is not written to dataset.json."""


def ingest(
    source: DataSource, out: Path, *, val: CountOrShare, calib: CountOrShare, limit: int | None, seed: int,
    test: CountOrShare = 0.2,
) -> DatasetManifest:
    """Write train.npz, val.npz, calib.npz, test.npz, manifest.parquet and dataset.json into `out`.

    Training images that are copies of test images or of other training images are dropped; the notes of the manifest
    contain their numbers.

    Args:
        source: Source of the images.
        out: Output folder; other files in it are not changed.
        val: Size of the validation split: a number of training images, or as a float below 1 a share of them.
        calib: Size of the split for INT8 calibration, likewise.
        limit: Largest number of training images (train, val and calib together); half as many test images; None: all.
        seed: Seed of the draws, which are stratified by class and do not divide groups.
        test: Size of the test split if the source has none, likewise.

    Raises:
        DataError: The source cannot be loaded, or the sizes are impossible.
    """
    raw = source.load()
    raw.check()
    hashes = {"train": hash_images(raw.train_images), "test": hash_images(raw.test_images)}
    clean = deduplicate(hashes["train"], raw.train_labels, hashes["test"], raw.test_labels)
    cuts = Cuts(val=val, calib=calib, test=test, limit=limit, seed=seed)
    assigned = assign(raw, clean.retained, cuts)
    rows = assigned.rows
    pixels = {"train": raw.train_images, "test": raw.test_images}
    labels = {"train": raw.train_labels, "test": raw.test_labels}
    tables, shards = [], {}
    for split in SPLITS:
        origin = assigned.origin[split]
        index = rows[split]
        content = Split(pixels[origin][index], labels[origin][index])
        shards[split] = write_shard(out, split, content)
        tables.append(_table(raw, split, origin, index, content, [hashes[origin][row] for row in index]))
    table = pd.concat(tables, ignore_index=True)
    mean, std = _channel_moments(raw, rows["train"])
    _, height, width, channels = raw.train_images.shape
    manifest = DatasetManifest(
        name=raw.name,
        digest=table_digest(table),
        spec=InputSpec(channels=channels, height=height, width=width, classes=len(raw.class_names)),
        counts={split: len(rows[split]) for split in SPLITS},
        class_names=raw.class_names,
        mean=mean,
        std=std,
        notes={
            **clean.counts,
            "shards": shards,
            "source": {key: value for key, value in raw.provenance.items() if key != _LOCATION_KEY},
            "asked": asdict(cuts),
        },
    )
    for split in SPLITS:
        read_back = hash_images(read_shard(out, split, manifest).images)
        mine = table["split"] == split
        table.loc[mine, "decoded"] = [a == b for a, b in zip(table.loc[mine, "sha256"], read_back, strict=True)]
    write_table(out / "manifest.parquet", table)
    write_json(out / "dataset.json", manifest.to_json())
    log.debug(
        "ingested %s from %s: %s, %d training images dropped as copies, digest %s",
        raw.name, raw.provenance.get(_LOCATION_KEY, "its source"), manifest.counts, clean.counts["dropped"],
        manifest.digest[:12],
    )
    return manifest


def _table(
    raw: RawData, split: str, origin: str, index: np.ndarray, content: Split, hashes: list[str]
) -> pd.DataFrame:
    count, height, width, channels = content.images.shape
    sums, squares = pixel_sums(content.images)
    mean, std = moments(sums.sum(axis=1), squares.sum(axis=1), height * width * channels)
    details = raw.train_details if origin == "train" else raw.test_details
    sizes = np.tile([width, height], (count, 1)) if details is None else details.sizes[index]
    columns = {
        "id": ids(raw, origin, index),
        "split": [split] * count,
        "group": [""] * count if details is None else [details.groups[row] for row in index.tolist()],
        "label": content.labels,
        "label_name": [raw.class_names[label] for label in content.labels],
        "sha256": hashes,
        "phash": perceptual_hashes(content.images),
        "width": np.full(count, width, dtype=np.int64),
        "height": np.full(count, height, dtype=np.int64),
        "channels": np.full(count, channels, dtype=np.int64),
        "file_width": sizes[:, 0],
        "file_height": sizes[:, 1],
        "mean": mean,
        "std": std,
        **image_statistics(content.images),
        "decoded": np.zeros(count, dtype=np.bool_),
        "source": [raw.name] * count,
    }
    return pd.DataFrame({column: columns[column] for column in COLUMNS})


def _channel_moments(raw: RawData, train: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    images = raw.train_images[train]
    sums, squares = pixel_sums(images)
    mean, std = moments(sums.sum(axis=0), squares.sum(axis=0), len(images) * images.shape[1] * images.shape[2])
    if (std == 0).any():
        raise DataError(
            f"{raw.name}: channel {int(np.argmin(std))} has the same value in all training images; "
            "remove it in the source (channels: 1 converts colours to grey)"
        )
    return tuple(mean.tolist()), tuple(std.tolist())
