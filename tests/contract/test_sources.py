"""What every source in the catalogue must do. A new row of SOURCES is covered by standing there."""

import json

import numpy as np
import pytest

from nas_pipeline.data import SOURCES
from nas_pipeline.data.ingest import ingest
from nas_pipeline.data.loaders import load_calib, load_search_data, normalise
from nas_pipeline.data.sources.fashion_mnist import CLASS_NAMES, FashionMnist

SLOW = {"fashion_mnist"}
"""Real data: 70,000 images, fetched if the machine has none."""


def by_name(names):
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


@pytest.fixture(scope="module", params=by_name(SOURCES))
def source(request):
    return request.param, SOURCES.make(request.param)


@pytest.fixture(scope="module")
def raw(source):
    return source[1].load()


def test_keeps_the_protocol(source, raw):
    raw.check()
    assert raw.name == source[0]
    assert raw.train_images.flags.c_contiguous
    assert raw.test_images.flags.c_contiguous


def test_every_class_occurs_in_both_splits(raw):
    everything = list(range(len(raw.class_names)))
    assert np.unique(raw.train_labels).tolist() == everything
    assert np.unique(raw.test_labels).tolist() == everything


def test_loads_the_same_twice(source, raw):
    again = source[1].load()
    assert again.class_names == raw.class_names
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(again, field), getattr(raw, field))


def test_provenance_is_plain_and_says_where(raw):
    assert raw.provenance["found"]
    assert json.loads(json.dumps(raw.provenance, allow_nan=False)) == raw.provenance


def test_can_be_ingested_and_searched(source, tmp_path):
    manifest = ingest(source[1], tmp_path, val=100, calib=50, limit=1000, seed=0)
    data = load_search_data(tmp_path)
    assert (len(data.train), len(data.val), len(load_calib(tmp_path))) == (850, 100, 50)
    values = normalise(data.train.images, manifest)
    assert values.shape[1:] == (manifest.spec.channels, manifest.spec.height, manifest.spec.width)
    assert abs(float(values.mean())) < 0.01


@pytest.mark.slow
def test_the_real_fashion_mnist():
    data = FashionMnist().load()
    assert data.train_images.shape == (60000, 28, 28, 1)
    assert data.test_images.shape == (10000, 28, 28, 1)
    assert np.bincount(data.train_labels).tolist() == [6000] * 10
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    assert data.class_names == CLASS_NAMES
    assert data.train_images.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert data.train_images.std() / 255 == pytest.approx(0.3530, abs=1e-4)
