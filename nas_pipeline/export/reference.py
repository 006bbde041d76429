"""The reference model: a small fixed network that is timed with every model to measure the speed of the host.

It must never change, as figures that are normalised by it would no longer be comparable. A new one needs a new version.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nas_pipeline.export import graph
from nas_pipeline.export.session import INPUT, OUTPUT

REFERENCE_VERSION = 1

_CHANNELS = (1, 16, 32, 64)
_SIDE = 28
_CLASSES = 10
_OPSET = 18
_IR_VERSION = 10


def write_reference(path: Path) -> None:
    """Write the network: 1x28x28 -> three 3x3 convolutions with 16, 32 and 64 channels -> 10 logits, 97 kB."""
    graph.save(_network(), path)


def _network() -> onnx.ModelProto:
    nodes, weights, last = [], [], INPUT
    for index, (before, after) in enumerate(itertools.pairwise(_CHANNELS)):
        weights.append(_wave(f"w{index}", (after, before, 3, 3)))
        convolution = helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], pads=[1] * 4, kernel_shape=[3] * 2)
        nodes.append(convolution)
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        last = f"r{index}"
        if index == 1:
            nodes.append(helper.make_node("MaxPool", [last], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]))
            last = "pooled"
    weights.append(_wave("head", (_CHANNELS[-1], _CLASSES)))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["features"]))
    nodes.append(helper.make_node("MatMul", ["features", "head"], [OUTPUT]))
    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", _CHANNELS[0], _SIDE, _SIDE])
    logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", _CLASSES])
    body = helper.make_graph(nodes, f"reference_{REFERENCE_VERSION}", [image], [logits], weights)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)


def _wave(name: str, shape: tuple[int, ...]) -> TensorProto:
    """Weights from integer arithmetic, which are equal on every machine and for every numpy version."""
    count = int(np.prod(shape))
    values = (np.arange(count, dtype=np.int64) * 7919 % 199 - 99).astype(np.float32) / np.float32(990.0)
    return numpy_helper.from_array(values.reshape(shape), name)
