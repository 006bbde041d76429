"""A file that every device would refuse is refused by the export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec, Parity
from nas_pipeline.errors import ExportError
from nas_pipeline.export import graph
from nas_pipeline.export.bundle import write_bundle
from nas_pipeline.export.int8 import quantize_int8
from nas_pipeline.export.onnx_file import export_onnx
from nas_pipeline.stages.scoring import export_candidates

SPEC = InputSpec(channels=4, height=8, width=8, classes=64)
CALIB = np.zeros((4, 4, 8, 8), np.float32)


class Halves(nn.Module):
    """Splits the channels with `chunk`, which exports to the operator Split."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(2, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.conv(x).chunk(2, dim=1)
        return self.head((first * second.sigmoid()).mean((2, 3)))


class Slices(Halves):
    """The same with slices."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.head((x[:, :2] * x[:, 2:].sigmoid()).mean((2, 3)))


def split_model() -> onnx.ModelProto:
    """A valid file with the operator Split, written without the export."""
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]),
             helper.make_node("Split", ["flat"], ["logits", "rest"], axis=1, num_outputs=2)]
    body = helper.make_graph(
        nodes, "split", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 4, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 128])])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_the_export_refuses_chunk_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"'Split'.*slices"):
        export_onnx(Halves(), SPEC, tmp_path / "net.onnx", opset=20)
    assert list(tmp_path.iterdir()) == []


def test_slices_are_accepted_in_both_precisions(tmp_path: Path) -> None:
    paths = export_candidates(Slices(), SPEC, 20, CALIB, "minmax", tmp_path)
    assert {path.name for path in paths.values()} == {"fp32.onnx", "int8.onnx"}


def test_the_precision_candidates_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Split"):
        export_candidates(Halves(), SPEC, 20, CALIB, "minmax", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_quantised_file_is_checked_too(tmp_path: Path) -> None:
    model = split_model()
    del model.graph.node[:]
    model.graph.node.extend([
        helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["product"]),
        helper.make_node("Split", ["product"], ["logits", "rest"], axis=1, num_outputs=2)])
    weight = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "fp32.onnx")
    with pytest.raises(ExportError, match="Split"):
        quantize_int8(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", CALIB)
    assert not (tmp_path / "int8.onnx").exists()


def test_a_bundle_with_a_file_of_another_origin_is_refused(tmp_path: Path) -> None:
    onnx.save(split_model(), tmp_path / "m.onnx")
    with pytest.raises(ExportError, match="Split"):
        write_bundle(
            tmp_path / "bundle", model=tmp_path / "m.onnx", target="board", genotype=Genotype("toy", 1, ()), spec=SPEC,
            precision="fp32", metrics={}, parity=Parity(1, 1.0, 0.0), provenance={})
    assert not (tmp_path / "bundle").exists()


def test_a_limit_is_named(tmp_path: Path) -> None:
    model = helper.make_model(helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["logits"])], "wide",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 1, 9000])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 9000])],
    ), opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(ExportError, match="8192"):
        graph.save(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
