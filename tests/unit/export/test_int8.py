"""INT8 copies: smaller, close, quiet, repeatable."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from nas_pipeline.core.files import sha256_file
from nas_pipeline.errors import ExportError
from nas_pipeline.export.int8 import quantize_int8
from nas_pipeline.export.parity import parity
from nas_pipeline.export.session import accuracy


def test_it_stays_close(shipped, digits):
    assert parity(shipped.net, shipped.int8, digits.val).top1_agreement > 0.95
    drop = accuracy(shipped.fp32, digits.val, digits.val_labels) - accuracy(shipped.int8, digits.val, digits.val_labels)
    assert abs(drop) < 0.02


def test_weights_are_signed_per_channel_and_activations_unsigned(plain):
    graph = onnx.load(plain.int8).graph
    weights = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 4]
    assert [list(tensor.dims) for tensor in weights] == [[8, 1, 3, 3], [16, 8, 3, 3]]
    points = {tensor.name: tensor for tensor in graph.initializer}
    activations = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {points[node.input[2]].data_type for node in activations} == {TensorProto.UINT8}
    scales = [points[node.input[1]] for node in graph.node
              if node.op_type == "DequantizeLinear" and node.input[0] in {tensor.name for tensor in weights}]
    assert sorted(list(scale.dims) for scale in scales) == [[8], [16]]


def test_the_mirrored_network_has_its_weights_once(plain, mirrored):
    count = [
        sum(len(tensor.dims) == 4 for tensor in onnx.load(item.int8).graph.initializer) for item in (plain, mirrored)
    ]
    assert count == [2, 2]


@pytest.mark.parametrize("calibration", ["minmax", "percentile"])
def test_it_is_repeatable_and_quiet(plain, digits, tmp_path, calibration, capfd, caplog):
    before = list(logging.getLogger().handlers)
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        for name in ("a", "b"):
            quantize_int8(plain.fp32, tmp_path / name, digits.train[:64], calibration=calibration)
    printed = capfd.readouterr()
    assert (printed.out, printed.err, caplog.records) == ("", "", [])
    assert logging.getLogger().handlers == before
    assert sha256_file(tmp_path / "a") == sha256_file(tmp_path / "b")


def test_calibrations_differ(plain, digits, tmp_path):
    for calibration in ("minmax", "percentile"):
        quantize_int8(plain.fp32, tmp_path / calibration, digits.train, calibration=calibration)
    assert sha256_file(tmp_path / "minmax") != sha256_file(tmp_path / "percentile")


def test_a_network_with_nothing_to_quantise_is_refused(digits, tmp_path):
    ends = [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("input", ["batch", 1, 8, 8]), ("logits", ["batch", 64]))]
    make = onnx.helper.make_node
    nodes = [make("Exp", ["input"], ["powers"]), make("Flatten", ["powers"], ["logits"])]
    body = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 20)]
    onnx.save(onnx.helper.make_model(body, opset_imports=opset, ir_version=10), tmp_path / "exp.onnx")
    with pytest.raises(ExportError, match="ship it as fp32"):
        quantize_int8(tmp_path / "exp.onnx", tmp_path / "out.onnx", digits.train[:8])


def test_wrong_requests_are_refused(plain, digits, tmp_path):
    out = tmp_path / "out.onnx"
    with pytest.raises(ExportError, match="minmax, percentile"):
        quantize_int8(plain.fp32, out, digits.train, calibration="entropy")
    with pytest.raises(ExportError, match="N at least 1"):
        quantize_int8(plain.fp32, out, digits.train[:0])
    with pytest.raises(ExportError, match="cannot be quantised"):
        quantize_int8(plain.fp32, out, np.zeros((4, 3, 8, 8), np.float32))
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(ExportError, match="cannot be quantised"):
        quantize_int8(tmp_path / "junk.onnx", out, digits.train)
    assert not out.exists()
