"""From a source to a folder: shards, manifest table, dataset.json. Same arguments, same bytes.

dataset.json is written last and has the checksums of the shards, so a folder half written is noticed when it is read.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from nas_pipeline.core.files import write_json
from nas_pipeline.core.records import DatasetManifest, InputSpec
from nas_pipeline.data.draw import stratified
from nas_pipeline.data.duplicates import deduplicate, hash_images
from nas_pipeline.data.shards import SPLITS, Split, read_shard, write_shard
from nas_pipeline.data.source import DataSource, RawData
from nas_pipeline.data.table import COLUMNS, moments, pixel_sums, table_digest, write_table
from nas_pipeline.errors import DataError

log = logging.getLogger(__name__)

_FOUND = "found"
"""The one key of a provenance that may differ between machines: it stays out of dataset.json."""


def ingest(
    source: DataSource, out: Path, *, val: int, calib: int, limit: int | None, seed: int
) -> DatasetManifest:
    """Write train.npz, val.npz, calib.npz, test.npz, manifest.parquet and dataset.json into `out`.

    Training copies of test images and repeated training images are dropped and counted in the manifest's notes.

    Args:
        source: Where the images come from.
        out: The folder; other files in it are left alone.
        val: Images cut from the training images for choices.
        calib: Images cut from the training images for INT8 calibration.
        limit: Keep so many training images (train, val and calib together) and half as many test images; None: all.
        seed: Of the draws, which are stratified by class.

    Raises:
        DataError: The source does not load, or the counts cannot be met.
    """
    raw = source.load()
    raw.check()
    hashes = {"train": hash_images(raw.train_images), "test": hash_images(raw.test_images)}
    clean = deduplicate(hashes["train"], raw.train_labels, hashes["test"], raw.test_labels)
    rows = _assign(raw, clean.kept, val=val, calib=calib, limit=limit, seed=seed)
    pixels = {"train": raw.train_images, "test": raw.test_images}
    labels = {"train": raw.train_labels, "test": raw.test_labels}
    tables, shards = [], {}
    for split in SPLITS:
        origin = _origin(split)
        index = rows[split]
        content = Split(pixels[origin][index], labels[origin][index])
        shards[split] = write_shard(out, split, content)
        tables.append(_table(raw, split, index, content, [hashes[origin][row] for row in index]))
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
            "source": {key: value for key, value in raw.provenance.items() if key != _FOUND},
            "asked": {"val": val, "calib": calib, "limit": limit, "seed": seed},
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
        raw.name, raw.provenance.get(_FOUND, "its source"), manifest.counts, clean.counts["dropped"],
        manifest.digest[:12],
    )
    return manifest


def _origin(split: str) -> str:
    return "test" if split == "test" else "train"


def _names(split: str, index: np.ndarray) -> list[str]:
    return [f"{_origin(split)}-{row:06d}" for row in index.tolist()]


def _assign(
    raw: RawData, kept: np.ndarray, *, val: int, calib: int, limit: int | None, seed: int
) -> dict[str, np.ndarray]:
    """Split -> ascending indices into the images of its origin."""
    pool, test = kept, np.arange(len(raw.test_labels))
    if min(val, calib) < 0 or val + calib >= len(pool) or (limit is not None and limit <= val + calib):
        raise DataError(
            f"{raw.name}: val={val} and calib={calib} images cannot be cut from {len(pool)} training images "
            f"(limit={limit}) and leave some to train on; lower val and calib or raise limit"
        )

    def draw(origin: str, index: np.ndarray, labels: np.ndarray, count: int, purpose: str) -> np.ndarray:
        chosen = stratified(_names(origin, index), labels[index], count, f"{seed}/{purpose}")
        return np.take(index, chosen)

    if limit is not None:
        pool = draw("train", pool, raw.train_labels, min(limit, len(pool)), "limit")
        test = draw("test", test, raw.test_labels, min(limit // 2, len(test)), "limit")
    rows = {"test": test}
    for split, count in (("val", val), ("calib", calib)):
        rows[split] = draw("train", pool, raw.train_labels, count, split)
        pool = np.setdiff1d(pool, rows[split], assume_unique=True)
    rows["train"] = pool
    missing = set(range(len(raw.class_names))) - set(raw.train_labels[pool].tolist())
    if missing:
        raise DataError(
            f"{raw.name}: no image is left to train on of {', '.join(raw.class_names[label] for label in missing)}; "
            "lower val and calib or raise limit"
        )
    return rows


def _table(raw: RawData, split: str, index: np.ndarray, content: Split, hashes: list[str]) -> pd.DataFrame:
    count, height, width, channels = content.images.shape
    sums, squares = pixel_sums(content.images)
    mean, std = moments(sums.sum(axis=1), squares.sum(axis=1), height * width * channels)
    columns = {
        "id": _names(split, index),
        "split": [split] * count,
        "label": content.labels,
        "label_name": [raw.class_names[label] for label in content.labels],
        "sha256": hashes,
        "width": np.full(count, width, dtype=np.int64),
        "height": np.full(count, height, dtype=np.int64),
        "channels": np.full(count, channels, dtype=np.int64),
        "mean": mean,
        "std": std,
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
            f"{raw.name}: channel {int(np.argmin(std))} has one value in all training images and carries nothing; "
            "leave it out in the source"
        )
    return tuple(mean.tolist()), tuple(std.tolist())
