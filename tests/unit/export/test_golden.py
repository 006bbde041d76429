"""Golden vectors: logits of the file for pixels, computed as on a device; read without pickle."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from nas_pipeline.errors import ExportError
from nas_pipeline.export.golden import FILE, agreement, make_golden, opset_of, read_golden, tolerance, write_golden
from nas_pipeline.export.session import open_session, predict
from tests.unit.registry.toy_artifacts import write_target


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_target(tmp_path, "t", "measured", True)
    return tmp_path / "artifacts" / "export" / "t" / "model.onnx"


def test_the_answers_are_those_of_the_file_to_normalised_pixels(model: Path, tmp_path: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
    golden = make_golden(model, raw, (0.5,), (0.25,))
    assert golden.pixels.shape == (16, 1, 4, 4)
    expected = predict(open_session(model), (golden.pixels.astype(np.float32) / 255 - 0.5) / 0.25)
    assert np.allclose(golden.logits, expected, atol=1e-4)
    write_golden(tmp_path, golden)
    again = read_golden((tmp_path / FILE).read_bytes())
    assert (again.pixels == golden.pixels).all()
    assert (again.logits == golden.logits).all()
    assert opset_of(model.read_bytes()) == 20
    assert tolerance("int8", golden.logits) > tolerance("fp32", golden.logits) > 0
    assert agreement("int8") < agreement("fp32") <= 1


def test_large_images_are_fewer(model: Path) -> None:
    assert len(make_golden(model, np.zeros((3, 4, 4, 1), np.uint8), (0.5,), (0.25,)).pixels) == 3
    with pytest.raises(ExportError, match="does not accept images"):
        make_golden(model, np.zeros((3, 600, 600, 1), np.uint8), (0.5,), (0.25,))


def test_what_is_no_golden_file_is_refused() -> None:
    for content in (b"", b"PK\x03\x04", b"pickle"):
        with pytest.raises(ExportError, match="cannot be read"):
            read_golden(content)
    with pytest.raises(ExportError, match="not an ONNX file"):
        opset_of(b"\xff\xff")
    wrong = io.BytesIO()
    np.savez(wrong, pixels=np.zeros((2, 1, 4, 4)), logits=np.zeros((2, 3), np.float32))
    with pytest.raises(ExportError, match="does not contain"):
        read_golden(wrong.getvalue())
