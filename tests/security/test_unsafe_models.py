"""Files that must not reach a runtime, and exported files that must be accepted."""

from __future__ import annotations

import io
import os
import pickle
import random
import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edge_agent.contract.model_check import UnsafeModelError, check_content, check_model
from nas_pipeline.core.records import InputSpec
from nas_pipeline.export.int8 import quantize_int8
from nas_pipeline.export.onnx_file import export_onnx
from nas_pipeline.export.reference import write_reference
from nas_pipeline.space import SPACES
from nas_pipeline.space.choosers import replay, sample
from nas_pipeline.train.test_time_augmentation import AugmentedNetwork
from tests.security.model_files import array, content_of, linear

SPEC = InputSpec(1, 12, 12, 4)


def check(content: bytes) -> None:
    check_content(content, max_bytes=1 << 24, max_opset=22)


def refused(content: bytes) -> str:
    with pytest.raises(UnsafeModelError) as caught:
        check(content)
    return str(caught.value)


def changed(**fields: object) -> bytes:
    model = linear()
    for name, value in fields.items():
        setattr(model, name, value)
    return content_of(model)


@pytest.mark.parametrize(("space", "views"), [
    ("residual", 6), ("flexible_cnn", 2),
    *(pytest.param(name, 1, marks=pytest.mark.nightly) for name in SPACES),  # each export takes ten seconds
])
def test_what_we_export_is_accepted(space, views, tmp_path):
    torch.set_num_threads(1)
    maker = SPACES.make(space, {})
    net = maker.build(replay(maker, sample(maker, random.Random(3))), SPEC)
    path, int8 = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    export_onnx(AugmentedNetwork(net, views) if views > 1 else net, SPEC, path, opset=20)
    quantize_int8(path, int8, np.random.default_rng(0).standard_normal((4, 1, 12, 12)).astype(np.float32))
    for file in (path, int8):
        check_model(file, max_bytes=1 << 26, max_opset=20)
        with pytest.raises(UnsafeModelError, match="operator set 20 is not 1 to 19"):
            check_model(file, max_bytes=1 << 26, max_opset=19)


def test_the_reference_model_is_accepted(tmp_path):
    write_reference(tmp_path / "reference.onnx")
    check_model(tmp_path / "reference.onnx", max_bytes=1 << 20, max_opset=18)
    with pytest.raises(UnsafeModelError, match="more than 1000 bytes"):
        check_model(tmp_path / "reference.onnx", max_bytes=1000, max_opset=18)


def test_no_models():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model.onnx", content_of(linear()))
    torch_file = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, torch_file)
    noise = random.Random(0)
    for content in (b"", b"\0", pickle.dumps({"a": str(Path.cwd())}), stream.getvalue(), torch_file.getvalue(),
                    b"#!/bin/sh\nreboot\n", *(noise.randbytes(size) for size in range(1, 3000, 37))):
        refused(content)


def test_links_pipes_and_folders(tmp_path):
    (tmp_path / "model.onnx").write_bytes(content_of(linear()))
    (tmp_path / "link.onnx").symlink_to(tmp_path / "model.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    check_model(tmp_path / "model.onnx", max_bytes=1 << 20, max_opset=20)
    for name, words in (("link.onnx", "link"), ("pipe.onnx", "plain file"), (".", "directory"), ("absent", "No such")):
        with pytest.raises(UnsafeModelError, match=words):
            check_model(tmp_path / name, max_bytes=1 << 20, max_opset=20)


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "weights.bin", ""])
def test_data_in_another_file(location):
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "1280")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    assert "not allowed" in refused(content_of(model))
    del tensor.external_data[:]
    assert "another file" in refused(content_of(model))


@pytest.mark.parametrize("node", [
    helper.make_node("Relu", ["scores"], ["end"], domain="com.microsoft"),
    helper.make_node("Relu", ["scores"], ["end"], domain="ai.onnx.ml"),
    helper.make_node("PyOp", ["scores"], ["end"]),
    helper.make_node("ImageDecoder", ["scores"], ["end"]),
    helper.make_node("RandomNormalLike", ["scores"], ["end"]),
    helper.make_node("", ["scores"], ["end"]),
    helper.make_node("If", ["scores"], ["end"], then_branch=linear().graph, else_branch=linear().graph),
    helper.make_node("Relu", ["scores"], ["end"], body=linear().graph),
    helper.make_node("Relu", ["scores"], ["end"], texts=["a", "b"]),
    helper.make_node("Relu", ["scores"], ["end"], text="x" * 5000),
    helper.make_node("Relu", ["scores"], ["end"], numbers=list(range(20_000))),
    helper.make_node("Relu", ["scores"], ["end"], overload="x"),
], ids=lambda node: f"{node.domain}:{node.op_type}:{[a.name for a in node.attribute]}{node.overload}")
def test_operators(node):
    refused(content_of(linear(more=[node], last="end")))


def test_other_sets_functions_metadata_training():
    model = linear()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    refused(content_of(model))
    model = linear()
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], [], [helper.make_opsetid("", 20)]))
    refused(content_of(model))
    model = linear()
    entry = model.metadata_props.add()
    entry.key, entry.value = "ort_config", '{"session_options": {"enable_profiling": 1}}'
    refused(content_of(model))
    model = linear()
    model.training_info.add()
    refused(content_of(model))
    refused(changed(ir_version=0))
    refused(changed(producer_name="x" * 2000))
    refused(content_of(linear(opset=23)))


@pytest.mark.parametrize(("kind", "dims"), [
    (TensorProto.FLOAT, [1 << 29]), (TensorProto.FLOAT, [1 << 20, 1 << 20, 1 << 20]), (TensorProto.FLOAT, [-1]),
    (TensorProto.FLOAT, [-2, -160]), (TensorProto.FLOAT, [1 << 62, 4]), (TensorProto.FLOAT, [319]),
    (TensorProto.FLOAT, [1] * 9 + [320]), (TensorProto.FLOAT, []), (TensorProto.INT8, [320]),
    (TensorProto.STRING, [320]), (TensorProto.INT4, [320]), (TensorProto.UNDEFINED, [320]), (99, [320]),
])
def test_tensors_that_claim_what_is_not_there(kind, dims):
    """Sizes of two gigabytes, negative sizes, an overflowing product, another type."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.data_type = kind
    del tensor.dims[:]
    tensor.dims.extend(dims)
    refused(content_of(model))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_data_in_two_places_or_of_a_wrong_kind():
    model = linear()
    model.graph.initializer[0].float_data.extend([1.0] * 320)
    refused(content_of(model))
    model.graph.initializer[0].ClearField("raw_data")
    check(content_of(model))
    model.graph.initializer[0].data_type = TensorProto.INT32
    refused(content_of(model))
    small = linear(weights=[helper.make_tensor("bytes", TensorProto.INT8, [3], [-1, 2, 3])])
    check(content_of(small))


@pytest.mark.parametrize("shape", [["batch", 8, 8], ["batch", "c", 8, 8], ["batch", 0, 8, 8], ["batch", 1, 1 << 20, 1],
                                   ["batch", 8000, 8000, 8000], []])
def test_inputs(shape):
    model = linear()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", TensorProto.FLOAT, shape))
    refused(content_of(model))


def test_two_inputs_no_output_and_another_type():
    model = linear()
    model.graph.input.append(model.graph.input[0])
    refused(content_of(model))
    model = linear()
    del model.graph.output[:]
    refused(content_of(model))
    model = linear()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    refused(content_of(model))
    model = linear()
    model.graph.output[0].type.sequence_type.elem_type.tensor_type.elem_type = 1
    refused(content_of(model))


def test_bombs():
    begun = time.monotonic()
    many = linear()
    many.graph.node.extend([helper.make_node("Relu", ["scores"], ["x"])] * 20_000)
    assert "nodes" in refused(content_of(many))
    tensors = linear(weights=[array(f"t{index}", np.float32(0)) for index in range(20_001)])
    assert "tensors" in refused(content_of(tensors))
    assert "fields" in refused(content_of(linear(more=[helper.make_node("Sum", ["x"] * 1_000_000, ["end"])])))
    deep = linear().graph
    for _ in range(20):
        outer = onnx.GraphProto()
        outer.node.append(helper.make_node("If", ["c"], ["y"], then_branch=deep))
        deep = outer
    model = linear()
    model.graph.CopyFrom(deep)
    refused(content_of(model))
    refused(b"\x3b" * 1_000_000)  # groups inside groups
    assert time.monotonic() - begun < 20


def test_two_readings_of_one_file_are_one_too_many():
    """Protocol buffers merge repeated occurrences of a field; a checker that uses the last one sees another model."""
    good = content_of(linear())
    graph = linear().graph.SerializeToString()
    refused(good + b"\x3a" + _length(len(graph)) + graph)
    refused(good + b"\x08" + b"\x80" * 11 + b"\x01")  # a number of eleven bytes
    refused(good + b"\xfa\x07\x00")  # an unknown field
    for cut in range(0, len(good), 7):
        refused(good[:cut])


def _length(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def fuzzed(seconds: float, mutations: int, seed: int) -> int:
    """Checks random changes: each is accepted or refused with UnsafeModelError, quickly; returns their number."""
    noise, began, done, depths = random.Random(seed), time.monotonic(), 0, set()
    start = [content_of(linear()), content_of(linear(weights=[array("t", np.arange(40))]))]
    while done < mutations and time.monotonic() - began < seconds:
        content = bytearray(noise.choice(start))
        longer = noise.random() < 0.2  # otherwise most would fail at the first wrong length
        for _ in range(noise.randint(1, 4)):
            # Not in the weights: any value is valid there.
            position = noise.choice((noise.randrange(120), len(content) - 1 - noise.randrange(120)))
            kind = noise.randrange(4) if longer else noise.randrange(2)
            if kind == 0:
                content[position] ^= 1 << noise.randrange(8)
            elif kind == 1:
                count = noise.randint(1, min(4, len(content) - position))
                content[position:position + count] = noise.randbytes(count)
            elif kind == 2:
                content[position:position] = b"\xff" * noise.randint(1, 10)
            else:
                content[position:position] = content[noise.randrange(len(content)):][:noise.randint(1, 200)]
        start_s, words = time.monotonic(), ""
        try:
            check(bytes(content))
        except UnsafeModelError as error:
            words = str(error)
            depths.add(words.rpartition(" in ")[2].rstrip("0123456789 ()"))
        assert len(words) < 500
        assert time.monotonic() - start_s < 5
        done += 1
    assert {"graph", "node", "opset_import", "input", "output"} <= depths, "only the outermost level was reached"
    return done


def test_fuzz():
    assert fuzzed(60, 2_000, seed=1) == 2_000


@pytest.mark.nightly
def test_fuzz_for_ten_minutes():
    assert fuzzed(600, 10**9, seed=time.time_ns()) > 100_000


def test_what_is_accepted_opens_or_is_refused_by_the_runtime(tmp_path: Path):
    """The reader of the onnx package parses every accepted file."""
    noise, opened = random.Random(5), 0
    good = content_of(linear())
    for _ in range(600):
        content = bytearray(good)
        content[noise.randrange(len(content))] ^= 1 << noise.randrange(8)
        try:
            check(bytes(content))
        except UnsafeModelError:
            continue
        onnx.ModelProto.FromString(bytes(content))
        opened += 1
    assert opened > 100
