"""Static INT8 copy of an ONNX file: QDQ, weights S8 per channel, activations U8.

U8, because S8 activations are several times slower on x86; ARM runs both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from nas_pipeline.errors import ExportError
from nas_pipeline.export import graph
from nas_pipeline.export.log_filters import quantizer_log_filter
from nas_pipeline.export.session import INPUT, ImageBatch

Int8Calibration = Literal["minmax", "percentile"]
"""Range of an activation over the calibration images: the full range, or without the outermost 0.001 %.

The method "entropy" of onnxruntime is not offered: `quantize_static` uses as many histogram bins as quantised bins, so
it returns the same file as minmax (1.32) in four times the time.
"""

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
}
_BATCH = 32


def quantize_int8(model: Path, out: Path, calib: ImageBatch, *, calibration: Int8Calibration = "minmax") -> None:
    """Write a static INT8 copy of `model` to `out`, with the same names of input and output.

    Args:
        model: A float32 file written by `export_onnx`.
        out: The file to write.
        calib: Normalised training images [N, C, H, W], a few hundred; never test images.
        calibration: See `Int8Calibration`.

    Raises:
        ExportError: The model cannot be quantised; `out` is not changed.

    Source: Krishnamoorthi, arXiv:1806.08342, section 3.
    """
    if calibration not in get_args(Int8Calibration):
        raise ExportError(f"unknown calibration {calibration!r}; choose one of {', '.join(get_args(Int8Calibration))}")
    if calib.ndim != 4 or len(calib) == 0:
        raise ExportError(f"calibration needs images [N, C, H, W] with N at least 1, got shape {calib.shape}")
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantised = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        try:
            with quantizer_log_filter():
                quant_pre_process(str(model), str(prepared))
                quantize_static(
                    str(prepared), str(quantised), _Batches(calib), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    calibrate_method=_METHODS[calibration],
                )
        except Exception as error:  # onnxruntime raises many types, among them those of protobuf
            raise ExportError(f"{model} cannot be quantised to INT8: {type(error).__name__}: {error}") from error
        result = graph.load(quantised)
    if not any(node.op_type == "QuantizeLinear" for node in result.graph.node):
        raise ExportError(f"{model} has no operator that can be quantised: ship it as fp32")
    graph.save(result, out)


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    """Calibration images in small batches, as the calibrator stores all activations of a batch in memory."""

    def __init__(self, images: ImageBatch) -> None:
        self._feeds = self._slices(images)

    @staticmethod
    def _slices(images: ImageBatch) -> Iterator[dict[str, Any]]:
        size = min(_BATCH, len(images))
        for start in range(0, len(images) - size + 1, size):  # the percentile calibrator fails on a smaller last batch
            yield {INPUT: images[start : start + size]}

    def get_next(self) -> dict[str, Any] | None:
        """Return the next feed, or None at the end."""
        return next(self._feeds, None)
