"""The contract of sources: valid arrays, equal in every load, accepted by `ingest`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nas_pipeline.data.ingest import ingest
from nas_pipeline.data.loaders import load_calib, load_search_data, normalise
from nas_pipeline.data.source import DataSource, RawData
from nas_pipeline.testing.keys import check_key


class SourceContract:
    """Subclasses override the fixture `source`. It needs at least `limit` training images."""

    val = 100
    calib = 50
    limit = 1000
    """How many training images `ingest` uses; `val` and `calib` of them become the other splits."""

    @pytest.fixture
    def source(self) -> DataSource:
        """The source under test."""
        raise NotImplementedError("override the fixture `source`")

    @pytest.fixture
    def raw(self, source: DataSource) -> RawData:
        """The loaded data set."""
        return source.load()

    def test_key_names_the_source(self, source: DataSource) -> None:
        """The key is plain data with name and version."""
        assert isinstance(source, DataSource)
        check_key(source)

    def test_arrays_are_valid(self, raw: RawData) -> None:
        """Types, shapes and labels are those of `RawData`."""
        raw.check()
        assert raw.name
        assert raw.train_images.flags.c_contiguous
        assert raw.test_images.flags.c_contiguous

    def test_every_class_occurs_in_every_split(self, raw: RawData) -> None:
        """No class is missing from the training images, nor from the test images if there are any."""
        everything = list(range(len(raw.class_names)))
        assert np.unique(raw.train_labels).tolist() == everything
        if len(raw.test_labels):
            assert np.unique(raw.test_labels).tolist() == everything

    def test_loads_the_same_twice(self, source: DataSource, raw: RawData) -> None:
        """Two loads return equal arrays."""
        second = source.load()
        assert second.class_names == raw.class_names
        for field in ("train_images", "train_labels", "test_images", "test_labels"):
            np.testing.assert_array_equal(getattr(second, field), getattr(raw, field))

    def test_provenance_is_plain_data_with_the_origin(self, raw: RawData) -> None:
        """`found` names where the images came from; everything is JSON."""
        assert raw.provenance["found"]
        assert json.loads(json.dumps(raw.provenance, allow_nan=False)) == raw.provenance

    def test_can_be_ingested_and_searched(self, source: DataSource, raw: RawData, tmp_path: Path) -> None:
        """`ingest` cuts the splits, and the search can load them."""
        manifest = ingest(source, tmp_path, val=self.val, calib=self.calib, limit=self.limit, seed=0)
        data = load_search_data(tmp_path)
        assert len(data.train) + len(data.val) + len(load_calib(tmp_path)) == self.limit
        brings_val = raw.train_details is not None and "val" in raw.train_details.splits
        assert len(data.val) == self.val or brings_val  # of a val split that the source brings, the limit keeps a share
        assert len(load_calib(tmp_path)) == self.calib
        assert manifest.counts["test"] > 0
        values = normalise(data.train.images, manifest)
        assert values.shape[1:] == (manifest.spec.channels, manifest.spec.height, manifest.spec.width)
        assert abs(float(values.mean())) < 0.01
