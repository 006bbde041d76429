import dataclasses
import gc
import os
import types

import numpy as np
import pytest

from nas_pipeline.data.duplicates import hash_images
from nas_pipeline.data.ingest import ingest
from nas_pipeline.data.loaders import Split, load_calib, load_manifest, load_search_data, normalise
from nas_pipeline.data.sources.synthetic import Synthetic
from nas_pipeline.errors import DataError

SOURCE = Synthetic(train=200, test=80, side=8, channels=3)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingested")
    ingest(SOURCE, folder, val=40, calib=20, limit=None, seed=0)
    return folder


@pytest.fixture
def folder(ingested, tmp_path):
    """A copy that a test may damage."""
    for path in ingested.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def reachable(root):
    """Every object that is reachable from `root` by attributes, items, closures and array bases."""
    seen, todo = {}, [root]
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, type | types.ModuleType):
            continue
        seen[id(item)] = item
        todo += gc.get_referents(item)
        if isinstance(item, np.ndarray) and item.base is not None:
            todo.append(item.base)
        if dataclasses.is_dataclass(item):
            todo += [getattr(item, field.name) for field in dataclasses.fields(item)]
    return list(seen.values())


def test_the_test_split_cannot_be_reached_from_search_data(ingested):
    objects = reachable(load_search_data(ingested))
    arrays = [item for item in objects if isinstance(item, np.ndarray)]
    images = [item for item in arrays if item.ndim == 4]
    assert sorted(len(item) for item in images) == [40, 140]
    assert {item.nbytes for item in arrays if item.dtype == np.uint8} == {item.nbytes for item in images}
    test_images = set(hash_images(SOURCE.load().test_images))
    assert test_images.isdisjoint(digest for item in images for digest in hash_images(item))
    assert not [item for item in objects if callable(item) or isinstance(item, os.PathLike | np.memmap)]
    assert not [item for item in objects if isinstance(item, str) and (".npz" in item or str(ingested) in item)]


def test_the_walk_would_find_a_test_split(ingested):
    hidden = Split(SOURCE.load().test_images[::2], np.zeros(40, dtype=np.int64))
    view = dataclasses.replace(hidden, images=hidden.images[:1])
    lengths = {len(item) for item in reachable(view) if isinstance(item, np.ndarray)}
    assert 80 in lengths  # the base of the view of the view


def test_search_data_loads_where_the_other_shards_are_gone(folder):
    for name in ("test.npz", "calib.npz", "manifest.parquet"):
        (folder / name).unlink()
    data = load_search_data(folder)
    assert len(data.train) == 140
    assert len(data.val) == 40
    assert data.manifest == load_manifest(folder)


def test_calib(ingested):
    calib = load_calib(ingested)
    assert calib.images.shape == (20, 8, 8, 3)
    assert np.bincount(calib.labels).tolist() == [5, 5, 5, 5]


def test_a_shard_that_was_changed(folder):
    content = bytearray((folder / "val.npz").read_bytes())
    content[500] ^= 1
    (folder / "val.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"val\.npz does not have its checksum"):
        load_search_data(folder)


def test_a_shard_of_another_ingest(folder, tmp_path_factory):
    second_folder = tmp_path_factory.mktemp("other")
    ingest(SOURCE, second_folder, val=40, calib=20, limit=None, seed=1)
    (folder / "train.npz").write_bytes((second_folder / "train.npz").read_bytes())
    with pytest.raises(DataError, match=r"train\.npz does not have its checksum"):
        load_search_data(folder)


def test_missing_files(folder, tmp_path_factory):
    (folder / "calib.npz").unlink()
    with pytest.raises(DataError, match=r"calib\.npz does not exist; run the ingest stage"):
        load_calib(folder)
    with pytest.raises(DataError, match=r"dataset\.json does not exist; run the ingest stage"):
        load_search_data(tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x"}'])
def test_a_manifest_that_is_none(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match="is not a data set manifest"):
        load_manifest(tmp_path)


def test_normalise(ingested):
    data = load_search_data(ingested)
    values = normalise(data.train.images, data.manifest)
    assert values.dtype == np.float32
    assert values.shape == (140, 3, 8, 8)
    assert values.flags.c_contiguous
    mean, std = np.array(data.manifest.mean), np.array(data.manifest.std)
    expected = ((data.train.images / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    np.testing.assert_allclose(values.mean(axis=(0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=(0, 2, 3)), 1, atol=1e-4)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 1), np.uint8), np.zeros((8, 8, 3), np.uint8)]
)
def test_normalise_refuses_other_arrays(ingested, images):
    with pytest.raises(DataError, match=r"takes uint8 images \[N, H, W, 3\]"):
        normalise(images, load_manifest(ingested))
