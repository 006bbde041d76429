import gzip
import struct

import numpy as np
import pytest

from nas_pipeline.data.idx import read_idx
from nas_pipeline.errors import DataError


def idx(values: np.ndarray, kind: int = 8, dims: int | None = None) -> bytes:
    head = struct.pack(">HBB", 0, kind, values.ndim if dims is None else dims)
    return head + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("wrap", [lambda content: content, gzip.compress], ids=["plain", "gz"])
def test_reads_what_was_written(tmp_path, wrap):
    path = tmp_path / "images"
    path.write_bytes(wrap(idx(VALUES)))
    read = read_idx(path, 3)
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, VALUES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too few for an IDX header"),
        (idx(VALUES)[:10], "too few for an IDX header"),
        (b"\x01" + idx(VALUES)[1:], "starts with 01000803"),
        (idx(VALUES, kind=0x0D), "starts with 00000d03"),
        (idx(VALUES, dims=1), "has 1 dimensions, expected 3"),
        (idx(VALUES)[:-1], "has 23 values, but its header declares 24"),
        (idx(VALUES) + b"\0", "has 25 values, but its header declares 24"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 4), "its header is damaged"),
        (gzip.compress(idx(VALUES), mtime=0)[:-9], "damaged gzip file"),
        (gzip.compress(idx(VALUES), mtime=0)[:12] + b"rubbish", "damaged gzip file"),
        (b"<!doctype html><title>404</title>", "starts with 3c21646f"),
    ],
    ids=["empty", "cut header", "magic", "type", "dimensions", "short", "long", "overflow", "cut gzip", "gzip", "html"],
)
def test_refuses_what_is_not_idx(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "none", 3)
