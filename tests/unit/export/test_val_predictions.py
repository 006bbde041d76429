"""Predictions of a file on validation images, and its most confident mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from nas_pipeline.errors import ExportError
from nas_pipeline.export import graph
from nas_pipeline.export.val_predictions import FILE, predict_val, read_val_predictions, write_val_predictions


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A network whose logits are its 1 x 1 x 3 image."""
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 1, 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    body = helper.make_graph([helper.make_node("Flatten", ["input"], ["logits"])], "echo", [image], [logits])
    graph.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_surest_mistakes_come_first_and_survive_the_disk(echo: Path, tmp_path: Path) -> None:
    images = np.array([[5, 0, 0], [0, 1, 0], [0, 4, 0]], np.float32).reshape(3, 1, 1, 3)
    raw = np.arange(3 * 130 * 65, dtype=np.int64).astype(np.uint8).reshape(3, 130, 65, 1)
    predictions = predict_val(echo, images, np.array([0, 0, 0]), raw)
    assert predictions.predictions.tolist() == [0, 1, 1]
    assert predictions.mistakes.tolist() == [2, 1]
    assert predictions.confidence[2] == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=1e-6)
    assert predictions.thumbnails.shape == (2, 64, 32, 1)
    write_val_predictions(tmp_path / "a", predictions)
    write_val_predictions(tmp_path / "b", predictions)
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()
    again = read_val_predictions(tmp_path / "a" / FILE)
    assert again.confidence.tolist() == predictions.confidence.tolist()
    assert again.thumbnails.tolist() == predictions.thumbnails.tolist()


def test_a_file_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no")
    with pytest.raises(ExportError, match="run the export stage again"):
        read_val_predictions(tmp_path / FILE)
