"""Reader of the IDX format of MNIST: magic number, dimensions, bytes. Malformed files are rejected.

Source: LeCun, Cortes, Burges, "The MNIST database", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from nas_pipeline.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_MAX_BYTES = 1 << 31
"""Upper bound on the declared size, which detects damaged headers."""


def read_idx(path: Path, dims: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes with `dims` dimensions, plain or gzipped, into a new uint8 array.

    Raises:
        DataError: The file is missing, damaged or of another type, or its length does not match its header.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if content.startswith(_GZIP_MAGIC):
        content = _unzip(path, content)
    return _parse(path, content, dims)


def _unzip(path: Path, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}); fetch it again") from error


def _parse(path: Path, content: bytes, dims: int) -> np.ndarray:
    header = 4 + 4 * dims
    if len(content) < header:
        raise DataError(f"{path} has {len(content)} bytes, too few for an IDX header of {header}")
    zero, kind, found_dims = struct.unpack(">HBB", content[:4])
    if zero != 0 or kind != _UNSIGNED_BYTE:
        raise DataError(f"{path} starts with {content[:4].hex()}; an IDX file of bytes starts with 000008")
    if found_dims != dims:
        raise DataError(f"{path} has {found_dims} dimensions, expected {dims}; are images and labels exchanged?")
    shape = struct.unpack(f">{dims}I", content[4:header])
    size = math.prod(shape)
    if size > _MAX_BYTES:
        raise DataError(f"{path} declares {size} bytes of values {shape}; its header is damaged")
    if len(content) - header != size:
        raise DataError(
            f"{path} has {len(content) - header} values, but its header declares {size} {shape}; fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape).copy()
