"""Parity of an ONNX file and its network, measured on images in batches and one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas_pipeline.core.records import Parity
from nas_pipeline.errors import ExportError
from nas_pipeline.export.onnx_file import inference_copy
from nas_pipeline.export.session import ImageBatch, open_session, predict

_SINGLES = 8
_BATCH = 64


def parity(net: nn.Module, path: Path, images: ImageBatch) -> Parity:
    """Compare the logits of `net` (in its exported form) and of the file on `images` [N, C, H, W].

    All images run in batches of 64 with a smaller last batch; the first ones also run one by one, as on a device. An
    image agrees if it agrees in both cases, so a frozen batch dimension is detected.

    Raises:
        ExportError: There are no images, or the shapes of the logits differ.
    """
    session = open_session(path)
    batched = predict(session, images, batch=_BATCH)
    singles = predict(session, images[:_SINGLES], batch=1)
    expected = _torch_logits(inference_copy(net), images)
    if expected.shape != batched.shape:
        raise ExportError(f"{path} gives logits {batched.shape}, the network {expected.shape}: it is another network")
    top = expected.argmax(1)
    agrees = batched.argmax(1) == top
    agrees[:_SINGLES] &= singles.argmax(1) == top[:_SINGLES]
    errors = (np.abs(batched - expected).max(), np.abs(singles - expected[:_SINGLES]).max())
    return Parity(images=len(images), top1_agreement=float(agrees.mean()), max_abs_error=float(max(errors)))


def _torch_logits(net: nn.Module, images: ImageBatch) -> ImageBatch:
    with torch.inference_mode():
        parts = [
            net(torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH])))
            for start in range(0, len(images), _BATCH)
        ]
    logits: ImageBatch = torch.cat(parts).numpy()
    return logits
