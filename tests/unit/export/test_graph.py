"""Requirements on ONNX files that ship."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nas_pipeline.errors import ExportError
from nas_pipeline.export import graph
from nas_pipeline.export.session import open_session, predict


def model(*weights: onnx.TensorProto) -> onnx.ModelProto:
    """input [N, 1, 2, 2] plus each weight in turn."""
    nodes, last = [], "input"
    for index, weight in enumerate(weights):
        nodes.append(helper.make_node("Add", [last, weight.name], [f"sum{index}"], doc_string="made by me"))
        last = f"sum{index}"
    nodes.append(helper.make_node("Flatten", [last], ["logits"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in
            (("input", ["batch", 1, 2, 2]), ("logits", ["batch", 4]))]
    body = helper.make_graph(nodes, "body", ends[:1], ends[1:], list(weights))
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, producer_name="someone")


def weight(name: str, value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.full((1, 2, 2), value, np.float32), name)


def test_equal_weights_are_kept_once_and_the_result_stays(tmp_path):
    graph.save(model(weight("a", 1.0), weight("b", 2.0), weight("c", 1.0)), tmp_path / "m.onnx")
    assert [tensor.name for tensor in graph.load(tmp_path / "m.onnx").graph.initializer] == ["a", "b"]
    logits = predict(open_session(tmp_path / "m.onnx"), np.zeros((3, 1, 2, 2), np.float32))
    np.testing.assert_array_equal(logits, np.full((3, 4), 4.0, np.float32))


def test_documentation_and_producer_are_dropped(tmp_path):
    graph.save(model(weight("a", 1.0)), tmp_path / "m.onnx")
    content = (tmp_path / "m.onnx").read_bytes()
    assert b"made by me" not in content
    assert b"someone" not in content


def test_a_tensor_in_another_file_is_refused(tmp_path):
    outside = weight("a", 1.0)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../elsewhere")
    with pytest.raises(ExportError, match="other files"):
        graph.save(model(outside), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_operators_of_one_runtime_only_are_refused(tmp_path):
    special = model(weight("a", 1.0))
    special.graph.node[0].domain = "com.example"
    with pytest.raises(ExportError, match=r"outside the ONNX standard \(com.example\)"):
        graph.save(special, tmp_path / "m.onnx")


def test_declared_but_unused_operator_sets_are_dropped(tmp_path):
    declared = model(weight("a", 1.0))
    declared.opset_import.append(helper.make_opsetid("com.example", 1))
    graph.save(declared, tmp_path / "m.onnx")
    assert [entry.domain for entry in graph.load(tmp_path / "m.onnx").opset_import] == [""]


def test_an_invalid_model_is_refused(tmp_path):
    broken = model(weight("a", 1.0))
    broken.graph.node[0].input[1] = "nowhere"
    with pytest.raises(ExportError, match="checker"):
        graph.save(broken, tmp_path / "m.onnx")


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\xff\xff not a model")
    with pytest.raises(ExportError, match="cannot be read"):
        graph.load(tmp_path / "m.onnx")
    with pytest.raises(ExportError, match="rejects"):
        open_session(tmp_path / "m.onnx")
    with pytest.raises(ExportError, match="cannot be read"):
        open_session(tmp_path / "absent.onnx")
