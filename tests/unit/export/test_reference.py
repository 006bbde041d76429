"""The reference model never changes."""

from __future__ import annotations

import numpy as np

from nas_pipeline.core.files import sha256_file
from nas_pipeline.export.reference import write_reference
from nas_pipeline.export.session import open_session, predict


def test_it_is_always_the_same_network(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        write_reference(tmp_path / name)
    assert sha256_file(tmp_path / "a.onnx") == sha256_file(tmp_path / "b.onnx")
    images = (np.arange(2 * 28 * 28, dtype=np.float32).reshape(2, 1, 28, 28) % 17 - 8) / 8
    logits = predict(open_session(tmp_path / "a.onnx"), images)
    assert logits.shape == (2, 10)
    assert np.isfinite(logits).all()
    assert logits.std() > 0
