import gzip
import struct

import numpy as np
import pytest

from nas_pipeline.data.sources.fashion_mnist import FashionMnist, download_checked
from nas_pipeline.errors import DataError


def write(folder, stem, values):
    header = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    (folder / f"{stem}.gz").write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture
def foreign_files(tmp_path):
    """Four well-formed IDX files with other pixels than Fashion-MNIST."""
    for prefix, count in (("train", 60), ("t10k", 10)):
        write(tmp_path, f"{prefix}-images-idx3-ubyte", np.zeros((count, 28, 28), dtype=np.uint8))
        write(tmp_path, f"{prefix}-labels-idx1-ubyte", np.zeros(count, dtype=np.uint8))
    return tmp_path


def test_a_given_path_with_other_pixels_is_an_error_without_fallback(foreign_files):
    source = FashionMnist(path=str(foreign_files))
    assert [way.name for way in source.ways()] == ["the given path"]
    with pytest.raises(DataError, match="does not belong to Fashion-MNIST: the sha256 of its values is"):
        source.load()


def test_a_given_path_without_files(tmp_path):
    with pytest.raises(DataError, match=r"has neither train-images-idx3-ubyte\.gz nor train-images-idx3-ubyte"):
        FashionMnist(path=str(tmp_path)).load()


def test_a_given_path_that_is_no_folder(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        FashionMnist(path=str(tmp_path / "none")).load()


def test_the_order_of_the_ways(tmp_path):
    ways = FashionMnist(cache=str(tmp_path)).ways()
    assert [way.network for way in ways] == [False, False, True, True, True]
    assert "installed package" in ways[0].name
    assert str(tmp_path) in ways[1].name
    assert "apt-get download" in ways[2].name


def test_a_download_that_is_wrong_is_not_kept(foreign_files, tmp_path):
    cache = tmp_path / "cache"

    def fetch(folder):
        for path in foreign_files.glob("*.gz"):
            (folder / path.name).write_bytes(path.read_bytes())

    with pytest.raises(DataError, match="does not belong to Fashion-MNIST"):
        download_checked(cache / "fashion-mnist", fetch)
    assert list(cache.iterdir()) == []
