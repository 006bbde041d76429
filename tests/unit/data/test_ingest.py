import dataclasses
import doctest
import json

import numpy as np
import pandas as pd
import pytest

from nas_pipeline.core.files import sha256_file
from nas_pipeline.data import source as source_module
from nas_pipeline.data.ingest import ingest
from nas_pipeline.data.loaders import load_manifest
from nas_pipeline.data.sources.synthetic import Synthetic
from nas_pipeline.data.table import COLUMNS
from nas_pipeline.errors import DataError
from tests.unit.data.toy_data import FixedSource, noise, raw

FILES = ["calib.npz", "dataset.json", "manifest.parquet", "test.npz", "train.npz", "val.npz"]
COUNTS = {"val": 40, "calib": 20, "limit": None, "seed": 0}


def shard(folder, split):
    with np.load(folder / f"{split}.npz", allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]


@pytest.fixture
def source():
    return Synthetic(train=200, test=80, side=8, channels=3)


def test_writes_shards_table_and_manifest(source, tmp_path):
    manifest = ingest(source, tmp_path, **COUNTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert manifest == load_manifest(tmp_path)
    assert manifest.counts == {"train": 140, "val": 40, "calib": 20, "test": 80}
    table = pd.read_parquet(tmp_path / "manifest.parquet")
    assert tuple(table) == COLUMNS
    assert table["decoded"].all()
    assert table["id"].is_unique
    original = source.load()
    for split in manifest.counts:
        images, labels = shard(tmp_path, split)
        rows = table[table["split"] == split]
        assert labels.dtype == np.int64
        assert rows["label"].tolist() == labels.tolist()
        assert [manifest.class_names[label] for label in labels] == rows["label_name"].tolist()
        index = [int(name.split("-")[1]) for name in rows["id"]]
        there = original.test_images if split == "test" else original.train_images
        np.testing.assert_array_equal(images, there[index])
        np.testing.assert_allclose(rows["std"], (images / 255).std(axis=(1, 2, 3)), rtol=1e-12)


def test_mean_and_std_are_of_the_train_split_alone(source, tmp_path):
    manifest = ingest(source, tmp_path, **COUNTS)
    images, _ = shard(tmp_path, "train")
    np.testing.assert_allclose(manifest.mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(manifest.std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-12)


def test_splits_are_stratified_and_disjoint(source, tmp_path):
    ingest(source, tmp_path, **COUNTS)
    table = pd.read_parquet(tmp_path / "manifest.parquet")
    assert pd.crosstab(table["split"], table["label"]).to_numpy().tolist() == [[5] * 4, [20] * 4, [35] * 4, [10] * 4]
    assert table["sha256"].is_unique


def test_same_arguments_same_bytes(source, tmp_path):
    for name in ("a", "b"):
        ingest(source, tmp_path / name, **COUNTS)
    ingest(source, tmp_path / "b", **COUNTS)
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_another_seed_draws_another_val_split(source, tmp_path):
    digests = {ingest(source, tmp_path / str(seed), **{**COUNTS, "seed": seed}).digest for seed in (0, 0, 1)}
    assert len(digests) == 2
    assert not np.array_equal(shard(tmp_path / "0", "val")[0], shard(tmp_path / "1", "val")[0])
    np.testing.assert_array_equal(shard(tmp_path / "0", "test")[0], shard(tmp_path / "1", "test")[0])


@pytest.mark.parametrize(
    ("limit", "train", "test"), [(100, 40, 50), (161, 101, 80), (5000, 140, 80)], ids=["small", "test-whole", "all"]
)
def test_limit(source, tmp_path, limit, train, test):
    manifest = ingest(source, tmp_path, **{**COUNTS, "limit": limit})
    assert manifest.counts == {"train": train, "val": 40, "calib": 20, "test": test}
    shares = np.bincount(shard(tmp_path, "test")[1])
    assert shares.max() - shares.min() <= 1


@pytest.mark.parametrize(
    "cuts", [{"val": 180}, {"limit": 60}, {"val": -1}, {"calib": 200}], ids=["val", "limit", "negative", "calib"]
)
def test_counts_that_cannot_be_met(source, tmp_path, cuts):
    with pytest.raises(DataError, match="lower val and calib or raise limit"):
        ingest(source, tmp_path, **{**COUNTS, **cuts})
    assert list(tmp_path.iterdir()) == []


def test_a_class_with_nothing_left_to_train_on(tmp_path):
    source = FixedSource(raw(noise(12), [0] * 11 + [1], noise(4, seed=1), [0, 0, 1, 1], classes=3))
    with pytest.raises(DataError, match="no image is left to train on of class2"):
        ingest(source, tmp_path, val=2, calib=0, limit=None, seed=0)


def test_copies_do_not_straddle_splits(tmp_path):
    train, test = noise(40), noise(10, seed=1)
    train[10:14] = train[3]  # four copies of one image, one with another label
    train[20] = test[0]
    test[5] = test[4]
    labels = [number % 2 for number in range(40)]
    manifest = ingest(FixedSource(raw(train, labels, test, [0, 1] * 5)), tmp_path, val=6, calib=4, limit=None, seed=0)
    table = pd.read_parquet(tmp_path / "manifest.parquet")
    assert {key: manifest.notes[key] for key in (
        "duplicates_within_train", "duplicates_within_test", "duplicates_train_test", "conflicting_labels", "dropped"
    )} == {
        "duplicates_within_train": 4,
        "duplicates_within_test": 1,
        "duplicates_train_test": 1,
        "conflicting_labels": 2,
        "dropped": 5,
    }
    assert manifest.counts == {"train": 25, "val": 6, "calib": 4, "test": 10}
    assert table.groupby("sha256")["split"].nunique().max() == 1
    assert {"train-000003"} == set(table["id"]) & {f"train-{row:06d}" for row in (3, 10, 11, 12, 13, 20)}


def test_notes_say_what_the_shards_are_but_not_where_the_images_were(source, tmp_path):
    manifest = ingest(source, tmp_path, **COUNTS)
    assert manifest.notes["shards"] == {split: sha256_file(tmp_path / f"{split}.npz") for split in manifest.counts}
    assert manifest.notes["asked"] == {**COUNTS, "test": 0.2}
    assert "found" not in json.loads((tmp_path / "dataset.json").read_text())["notes"]["source"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": noise(10).astype(np.float32)}, "images must be uint8"),
        ({"train_images": noise(10)[..., 0]}, "images must be uint8"),
        ({"test_images": noise(0)}, "and not empty"),
        ({"train_labels": np.zeros(9, dtype=np.int64)}, "one per image"),
        ({"test_labels": np.zeros(4, dtype=np.int32)}, "labels must be int64"),
        ({"train_labels": np.full(10, 2)}, r"labels must lie in 0\.\.1, got 2\.\.2"),
        ({"test_images": noise(4, side=7)}, "the source must give them one size"),
        ({"class_names": ("a", "a")}, "class names must be given and differ"),
        ({"train_images": np.zeros((10, 6, 6, 1), dtype=np.uint8)}, "cannot be cut from 1 training images"),
    ],
)
def test_a_source_that_does_not_keep_its_word(tmp_path, change, message):
    good = raw(noise(10), [0, 1] * 5, noise(4, seed=1), [0, 1, 0, 1])
    with pytest.raises(DataError, match=message):
        ingest(FixedSource(dataclasses.replace(good, **change)), tmp_path, val=2, calib=2, limit=None, seed=0)


def test_a_channel_that_carries_nothing(tmp_path):
    train = noise(10, channels=2)
    train[..., 1] = 9
    source = FixedSource(raw(train, [0, 1] * 5, noise(4, channels=2, seed=1), [0, 1, 0, 1]))
    with pytest.raises(DataError, match="channel 1 has the same value in all training images"):
        ingest(source, tmp_path, val=2, calib=2, limit=None, seed=0)


def test_the_example_of_a_source_runs():
    result = doctest.testmod(source_module)
    assert result.attempted > 0
    assert result.failed == 0
