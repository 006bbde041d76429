"""ONNX Runtime sessions for measuring and scoring: CPU, fixed number of threads, no spinning, errors logged only.

Imports neither torch nor onnx, as the processes of the latency benchmark import this module.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from nas_pipeline.errors import ExportError

ImageBatch = npt.NDArray[np.float32]
"""Normalised images [N, C, H, W]."""

INPUT, OUTPUT = "input", "logits"
"""Names of the single input [N, C, H, W] and the single output [N, classes] of every file that ships."""

ALL_CORES = 0
"""Number of threads for scoring; never used for a latency."""

_ERRORS_ONLY = 3


def open_session(model: Path | bytes, *, threads: int = 1) -> ort.InferenceSession:
    """Open a CPU session for a self-contained ONNX file or its bytes.

    Threads do not spin while they wait, as spinning takes time from other processes of a small device.

    Raises:
        ExportError: The file is missing or ONNX Runtime rejects it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    name = "the model" if isinstance(model, bytes) else str(model)
    try:
        # Bytes instead of the path: the bytes that were read and hashed run, and external tensors are unreachable.
        content = model if isinstance(model, bytes) else model.read_bytes()
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise ExportError(f"{name} cannot be read: {error}") from error
    except Exception as error:  # ONNX Runtime has a dozen unrelated error types
        raise ExportError(f"ONNX Runtime rejects {name}: {error}") from error


def predict(session: ort.InferenceSession, images: ImageBatch, batch: int = 256) -> ImageBatch:
    """Compute the logits [N, classes] float32 of images [N, C, H, W].

    Raises:
        ExportError: The network does not accept the images.
    """
    if images.ndim != 4 or len(images) == 0:
        raise ExportError(f"expected images [N, C, H, W] with N at least 1, got an array of shape {images.shape}")
    name = session.get_inputs()[0].name
    try:
        parts = [
            session.run(None, {name: np.ascontiguousarray(images[start : start + batch], dtype=np.float32)})[0]
            for start in range(0, len(images), batch)
        ]
    except Exception as error:
        raise ExportError(f"the model does not accept images of shape {images.shape}: {error}") from error
    logits: ImageBatch = np.concatenate(parts).astype(np.float32, copy=False)
    return logits


def accuracy(model: Path, images: ImageBatch, labels: npt.NDArray[np.integer]) -> float:
    """Compute the top-1 accuracy in [0, 1] of an ONNX file on images [N, C, H, W] with labels [N].

    Raises:
        ExportError: Images and labels do not match, or the model does not accept the images.
    """
    if labels.shape != (len(images),):
        raise ExportError(f"{len(images)} images but labels of shape {labels.shape}: give one label per image")
    return float(np.mean(predict(open_session(model, threads=ALL_CORES), images).argmax(1) == labels))
