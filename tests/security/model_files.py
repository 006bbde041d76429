"""Small ONNX files, valid and invalid, with their model cards and releases."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edge_agent.contract import wire

SHAPE = (1, 8, 8)
CLASSES = 5
IMAGES = 12


def linear(*, more: Sequence[onnx.NodeProto] = (), last: str = "scores", weights: Sequence[onnx.TensorProto] = (),
           opset: int = 20) -> onnx.ModelProto:
    """Returns Flatten and MatMul to `scores`, followed by `more`, whose output `last` is the logits."""
    values = np.random.default_rng(1).standard_normal((64, CLASSES)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["scores"]),
             *more, helper.make_node("Identity", [last], ["logits"])]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(values, "w"), *weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def content_of(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString()
    return content


def array(name: str, values: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values), name)


def golden() -> wire.Golden:
    """Returns the golden vectors of `linear()`."""
    pixels = np.random.default_rng(2).integers(0, 256, (IMAGES, *SHAPE), dtype=np.uint8)
    floats = (pixels.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    logits = ort.InferenceSession(content_of(linear())).run(None, {"input": floats})[0]
    return wire.Golden(IMAGES, base64.b64encode(pixels.tobytes()).decode(),
                       base64.b64encode(logits.astype("<f4").tobytes()).decode(), 1e-3, 0.95)


def card(content: bytes, counter: int = 1) -> wire.ModelCard:
    return wire.ModelCard(
        counter, wire.onnx_path("toy", "toy--toy", hashlib.sha256(content).hexdigest()), *SHAPE,
        class_names=tuple("abcde"), mean=(0.5,), std=(0.25,), golden=golden(), evidence={})


def release(*, counter: int = 1, latency_ms: float = 5.0, memory_mb: float = 64.0) -> wire.Release:
    return wire.Release(
        schema=1, model="toy--toy", version="1", bundle="0" * 64, counter=counter, hardware=("toy",),
        ort=("1.20", "2"), opset=20, min_agent="0.1.0", memory_mb=memory_mb, latency_ms=latency_ms, threads=1,
        golden=golden().sha256, wave=wire.Wave("00" * 8, (10_000,), 0))
