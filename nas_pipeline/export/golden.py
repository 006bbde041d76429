"""Golden vectors: some validation images, and the logits of the file that ships on the machine that exported it.

A device runs the same images before it activates a file. The images are from the validation split, never from the test
split. They are pixels, not floats, so that the normalisation of the device is tested too.
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
"""Tolerance relative to the largest logit: fp32 kernels differ between CPUs in the last digits, INT8 kernels also in
saturation."""
_AGREEMENT = {"fp32": 0.9, "int8": 0.75}


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """pixels: uint8 [N, C, H, W]; logits: float32 [N, classes]."""

    pixels: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float32]


def make_golden(
    model: Path, raw: npt.NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...], limit: int = IMAGES
) -> GoldenVectors:
    """Run `model` on some of the images `raw` [N, H, W, C], evenly spread and one at a time, as a device does.

    Raises:
        ExportError: The model does not accept the images, or its logits are not finite.
    """
    count = max(1, min(limit, len(raw), MAX_PIXELS // max(1, int(np.prod(raw.shape[1:])))))
    chosen = raw[np.linspace(0, len(raw) - 1, count).astype(np.int64)]
    pixels = np.ascontiguousarray(chosen.transpose(0, 3, 1, 2))
    shape = (1, -1, 1, 1)
    middle, scale = (np.array(values, np.float32).reshape(shape) for values in (mean, std))
    images = (pixels.astype(np.float32) / 255 - middle) / scale
    logits = predict(open_session(model), images.astype(np.float32), batch=1)
    if not np.isfinite(logits).all():
        raise ExportError(f"{model} has logits on validation images that are not finite numbers")
    return GoldenVectors(pixels, logits)


def write_golden(folder: Path, golden: GoldenVectors) -> None:
    """Write golden.npz to `folder`; equal content gives equal bytes."""
    with atomic_path(folder / FILE) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, pixels=golden.pixels, logits=golden.logits)


def read_golden(content: bytes) -> GoldenVectors:
    """Read the content of a golden.npz.

    Raises:
        ExportError: The content is not that of a golden.npz.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            pixels, logits = arrays["pixels"], arrays["logits"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ExportError(f"{FILE} cannot be read: {error}") from error
    if (pixels.dtype, logits.dtype) != (np.uint8, np.float32) or pixels.ndim != 4 or logits.ndim != 2 or not (
        0 < len(pixels) == len(logits)
    ):
        raise ExportError(f"{FILE} does not contain pixels uint8 [N, C, H, W] and logits float32 [N, classes]")
    return GoldenVectors(pixels, logits)


def tolerance(precision: Precision, logits: npt.NDArray[np.float32]) -> float:
    """Return the largest allowed difference of a logit on another CPU."""
    return round(_SHARE_OF_RANGE[precision] * max(1.0, float(np.abs(logits).max())), 6)


def agreement(precision: Precision) -> float:
    """Return the share of the images on which the predicted class must agree."""
    return _AGREEMENT[precision]


def opset_of(model: bytes) -> int:
    """Return the opset of the standard operators that a model uses.

    Raises:
        ExportError: The content is not an ONNX file.
    """
    try:
        versions = {entry.domain: entry.version for entry in onnx.load_from_string(model).opset_import}
        return int(versions.get("") or versions["ai.onnx"])
    except Exception as error:  # protobuf has its own error types
        raise ExportError(f"the model is not an ONNX file: {error}") from error
