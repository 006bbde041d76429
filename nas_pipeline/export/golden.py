"""Golden vectors: some validation images, and what the file that ships answers to them on the machine that made it.

A device runs the same images before it trusts a file. Validation, never test. Pixels, not floats: the device does the
normalisation itself, so that is under test too.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from nas_pipeline.core.files import atomic_path
from nas_pipeline.core.records import Precision
from nas_pipeline.errors import ExportError
from nas_pipeline.export.session import open_session, predict

FILE = "golden.npz"
IMAGES = 16
MAX_PIXELS = 1 << 20
_SHARE_OF_RANGE = {"fp32": 0.002, "int8": 0.1}
"""Of the largest logit: fp32 kernels of two CPUs differ in the last digits; INT8 ones in what they saturate."""
_AGREEMENT = {"fp32": 0.9, "int8": 0.75}


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """pixels: uint8 [N, C, H, W]; logits: float32 [N, classes]."""

    pixels: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float32]


def make_golden(
    model: Path, raw: npt.NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...], limit: int = IMAGES
) -> GoldenVectors:
    """Ask `model` about some of the images `raw` [N, H, W, C], evenly spread, one at a time as a device does.

    Raises:
        ExportError: The model does not take them, or answers with something else than numbers.
    """
    count = max(1, min(limit, len(raw), MAX_PIXELS // max(1, int(np.prod(raw.shape[1:])))))
    chosen = raw[np.linspace(0, len(raw) - 1, count).astype(np.int64)]
    pixels = np.ascontiguousarray(chosen.transpose(0, 3, 1, 2))
    shape = (1, -1, 1, 1)
    middle, scale = (np.array(values, np.float32).reshape(shape) for values in (mean, std))
    images = (pixels.astype(np.float32) / 255 - middle) / scale
    logits = predict(open_session(model), images.astype(np.float32), batch=1)
    if not np.isfinite(logits).all():
        raise ExportError(f"{model} answers validation images with something that is not a number")
    return GoldenVectors(pixels, logits)


def write_golden(folder: Path, golden: GoldenVectors) -> None:
    """Write them; equal content gives equal bytes."""
    with atomic_path(folder / FILE) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, pixels=golden.pixels, logits=golden.logits)


def read_golden(content: bytes) -> GoldenVectors:
    """Read the bytes of a golden.npz.

    Raises:
        ExportError: They are not.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            pixels, logits = arrays["pixels"], arrays["logits"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ExportError(f"{FILE} cannot be read: {error}") from error
    if (pixels.dtype, logits.dtype) != (np.uint8, np.float32) or pixels.ndim != 4 or logits.ndim != 2 or not (
        0 < len(pixels) == len(logits)
    ):
        raise ExportError(f"{FILE} does not hold pixels uint8 [N, C, H, W] and logits float32 [N, classes]")
    return GoldenVectors(pixels, logits)


def tolerance(precision: Precision, logits: npt.NDArray[np.float32]) -> float:
    """By how much a logit may differ on another CPU."""
    return round(_SHARE_OF_RANGE[precision] * max(1.0, float(np.abs(logits).max())), 6)


def agreement(precision: Precision) -> float:
    """Share of the images that have to have the same top-1 answer."""
    return _AGREEMENT[precision]


def opset_of(model: bytes) -> int:
    """The opset of the standard operators that a file uses.

    Raises:
        ExportError: It is not an ONNX file.
    """
    try:
        versions = {entry.domain: entry.version for entry in onnx.load_from_string(model).opset_import}
        return int(versions.get("") or versions["ai.onnx"])
    except Exception as error:  # protobuf's errors are of its own kind
        raise ExportError(f"the model is not an ONNX file: {error}") from error
