"""What a model file may hold, checked before any runtime opens it: a reader of our own for what our exporters write.

Closed tables: a field, operator, element type or domain that is not listed is refused, so that nothing is left over
for a runtime to understand in another way. Nothing is allocated by what a length claims, nothing recurses (no graph
can be inside a graph), and the number of fields is bounded. Numbers and meaning of fields: onnx.proto of ONNX 1.23.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from edge_agent.errors import AgentError

OPERATORS: Final = frozenset((  # noqa: SIM905  # as a list, it would be seventy lines
    "Abs Add ArgMax AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv "
    "DequantizeLinear Div Dropout Elu Erf Exp Expand Flatten Gather GatherElements Gelu Gemm GlobalAveragePool "
    "GlobalMaxPool GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization "
    "LeakyRelu LogSoftmax MatMul Max MaxPool Mean Min Mish Mul Neg PRelu Pad Pow QuantizeLinear Reciprocal "
    "ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Resize Shape Sigmoid Slice Softmax Softplus Sqrt "
    "Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where "
).split())
"""Arithmetic on tensors. None that holds a graph, reads a file, makes strings or draws random numbers."""

_ELEMENT_BYTES: Final = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
_DATA: Final = {"float_data": {1}, "int32_data": {2, 3, 4, 5, 6, 9, 10, 16}, "int64_data": {7}, "double_data": {11},
                "uint64_data": {12, 13}}
"""Where the elements of which type may be, apart from raw_data."""
_FLOAT: Final = 1
_MAX_FIELDS, _MAX_NODES, _MAX_TENSORS = 400_000, 10_000, 20_000
_MAX_TEXT, _MAX_LIST, _MAX_RANK = 1_024, 16_384, 8
_MAX_SIDE, _MAX_IMAGE = 8_192, 1 << 25

# Field number -> name and what it is: v varint, w 4 bytes, d 8 bytes, t text, m message or bytes; a capital: any number
# of them (of numbers, packed too). What is missing here is refused: functions, training, metadata (also that which
# ONNX Runtime takes options from), graphs in attributes, sparse tensors, tensors in other files.
_MODEL = {1: "v ir_version", 2: "t producer_name", 3: "t producer_version", 4: "t domain", 5: "v model_version",
          6: "t doc_string", 7: "m graph", 8: "M opset_import"}
_OPSET = {1: "t domain", 2: "v version"}
_GRAPH = {1: "M node", 2: "t name", 5: "M initializer", 10: "t doc_string", 11: "M input", 12: "M output",
          13: "M value_info"}
_NODE = {1: "T input", 2: "T output", 3: "t name", 4: "t op_type", 5: "M attribute", 6: "t doc_string", 7: "t domain"}
_ATTRIBUTE = {1: "t name", 2: "w f", 3: "v i", 4: "t s", 5: "m t", 7: "W floats", 8: "V ints", 13: "t doc_string",
              20: "v type"}
_TENSOR = {1: "V dims", 2: "v data_type", 4: "W float_data", 5: "V int32_data", 7: "V int64_data", 8: "t name",
           9: "m raw_data", 10: "D double_data", 11: "V uint64_data", 12: "t doc_string", 14: "v data_location"}
_VALUE = {1: "t name", 2: "m type", 3: "t doc_string"}
_TYPE = {1: "m tensor_type", 6: "t denotation"}
_TENSOR_TYPE = {1: "v elem_type", 2: "m shape"}
_SHAPE = {1: "M dim"}
_DIM = {1: "v dim_value", 2: "t dim_param", 3: "t denotation"}
_WIRE: Final = {"v": 0, "d": 1, "t": 2, "m": 2, "w": 5}


def check_model(path: Path, *, max_bytes: int, max_opset: int) -> None:
    """Refuse a file that is not a plain, self-contained network of ours.

    Raises:
        AgentError: unsafe_model, with what is wrong and where.
    """
    try:
        # No link is followed, and a pipe does not hold us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                _refuse("it is not a plain file", path.name)
            content = stream.read(max_bytes + 1)
    except OSError as error:
        what = "it is a link" if error.errno == errno.ELOOP else f"it cannot be read: {error.strerror}"
        raise AgentError("unsafe_model", f"{what} ({path.name})") from error
    check_content(content, max_bytes=max_bytes, max_opset=max_opset)


def check_content(content: bytes, *, max_bytes: int, max_opset: int) -> None:
    """The same for what would be in the file.

    Raises:
        AgentError: See `check_model`.
    """
    if len(content) > max_bytes:
        _refuse(f"it has more than {max_bytes} bytes", "the file")
    _Reader(max_opset).model(memoryview(content))


def _refuse(what: str, where: str) -> NoReturn:
    raise AgentError("unsafe_model", f"{what}, in {where}")


class _Reader:
    """One reading of one file; counts what has been read."""

    def __init__(self, max_opset: int) -> None:
        self._max_opset = max_opset
        self._fields = self._nodes = self._tensors = 0

    def model(self, data: memoryview) -> None:
        graphs, opsets, version = [], [], 0
        for name, value in self._walk(data, _MODEL, "model"):
            if name == "graph":
                graphs.append(value)
            elif name == "opset_import":
                opsets.append(dict(self._walk(value, _OPSET, "opset_import")))
            elif name == "ir_version":
                version = value
        if not graphs or not 3 <= version <= 64:
            _refuse("no ONNX model: no graph, or no version that is known", "model")
        if len(opsets) != 1 or opsets[0].get("domain", "") not in ("", "ai.onnx"):
            _refuse("operator sets other than that of ONNX alone", "opset_import")
        if not 1 <= opsets[0].get("version", 0) <= self._max_opset:
            _refuse(f"operator set {opsets[0].get('version', 0)} is not 1 to {self._max_opset}", "opset_import")
        self._graph(graphs[0])

    def _graph(self, data: memoryview) -> None:
        inputs, outputs = [], []
        for name, value in self._walk(data, _GRAPH, "graph"):
            if name == "node":
                self._node(value)
            elif name == "initializer":
                self._tensor(value, "initializer")
            elif name in ("input", "output", "value_info"):
                shape = self._value(value, name)
                inputs += [shape] if name == "input" else []
                outputs += [shape] if name == "output" else []
        if len(inputs) != 1 or len(outputs) != 1:
            _refuse(f"{len(inputs)} inputs and {len(outputs)} outputs instead of one each", "graph")
        (kind, sides), (out_kind, out_sides) = inputs[0], outputs[0]
        if kind != _FLOAT or len(sides) != 4 or not all(1 <= side <= _MAX_SIDE for side in sides[1:]):
            _refuse(f"it takes no float images [N, C, H, W] of a fixed size up to {_MAX_SIDE}", "input")
        if sides[1] * sides[2] * sides[3] > _MAX_IMAGE or not self._nodes:
            _refuse("an image is too large, or there is nothing to compute", "graph")
        if out_kind != _FLOAT or len(out_sides) != 2 or not 1 <= out_sides[1] <= _MAX_IMAGE:
            _refuse("it gives no float logits [N, classes]", "output")

    def _node(self, data: memoryview) -> None:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            _refuse(f"more than {_MAX_NODES} nodes", "graph")
        operator, where = "", f"node {self._nodes - 1}"
        for name, value in self._walk(data, _NODE, where):
            if name == "op_type":
                operator = value
            elif name == "domain" and value not in ("", "ai.onnx"):
                _refuse(f"an operator of {value!r:.60}", where)
            elif name == "attribute":
                self._attribute(value, where)
        if operator not in OPERATORS:
            _refuse(f"operator {operator!r:.60} is not allowed", where)

    def _attribute(self, data: memoryview, where: str) -> None:
        numbers = 0
        for name, value in self._walk(data, _ATTRIBUTE, f"attribute of {where}"):
            if name == "t":
                self._tensor(value, where)
            elif name in ("floats", "ints"):
                numbers += len(value) if isinstance(value, memoryview) else 1
                if numbers > _MAX_LIST:
                    _refuse("a list too long for an attribute", where)

    def _tensor(self, data: memoryview, where: str) -> None:
        self._tensors += 1
        where = f"tensor {self._tensors - 1} ({where})"
        if self._tensors > _MAX_TENSORS:
            _refuse(f"more than {_MAX_TENSORS} tensors", where)
        sides: list[int] = []
        kind, raw, there = 0, -1, dict.fromkeys(_DATA, 0)
        for name, value in self._walk(data, _TENSOR, where):
            if name == "dims":
                sides += [value] if isinstance(value, int) else _numbers(value, where)
            elif name == "data_type":
                kind = value
            elif name == "data_location" and value != 0:
                _refuse("its data are in another file", where)
            elif name == "raw_data":
                raw = len(value)
            elif name in there:
                there[name] += _count(name, value, where)
        if kind not in _ELEMENT_BYTES or len(sides) > _MAX_RANK or not all(0 <= side < 1 << 31 for side in sides):
            _refuse(f"element type {kind} or shape {sides[:_MAX_RANK]} is not allowed", where)
        elements, places = 1, [name for name, count in there.items() if count]
        for side in sides:
            elements *= side
        if raw >= 0:
            fits = not places and raw == elements * _ELEMENT_BYTES[kind]
        else:
            fits = sum(there.values()) == elements and all(kind in _DATA[name] for name in places)
        if not fits:
            _refuse(f"shape {sides} does not fit the data that are there", where)

    def _value(self, data: memoryview, where: str) -> tuple[int, list[int]]:
        """Element type and shape; -1 for a side that is open."""
        kind, sides = 0, []
        types = [value for name, value in self._walk(data, _VALUE, where) if name == "type"]
        for tensor in [value for each in types for name, value in self._walk(each, _TYPE, where) if name[0] == "t"]:
            for name, value in self._walk(tensor, _TENSOR_TYPE, where):
                if name == "elem_type":
                    kind = value
                else:
                    found = [dict(self._walk(each, _DIM, where)) for _, each in self._walk(value, _SHAPE, where)]
                    sides = [-1 if "dim_param" in dim else int(dim.get("dim_value", -1)) for dim in found]
        return kind, sides

    def _walk(self, data: memoryview, table: dict[int, str], where: str) -> Iterator[tuple[str, Any]]:
        """Fields of one message; a field that may be there once is there once, or two readers might take two."""
        seen, place = set(), 0
        while place < len(data):
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                _refuse(f"more than {_MAX_FIELDS} fields", where)
            key, place = _varint(data, place, where)
            kind, _, name = table.get(key >> 3, "").partition(" ")
            one, wire = kind.lower(), key & 7
            packed = kind in ("V", "W", "D") and wire == 2
            if not kind or key >> 32 or (wire != _WIRE[one] and not packed):
                _refuse(f"field {key >> 3:.0f} is not allowed here", where)
            if kind == one and name in seen:
                _refuse(f"{name} is there twice", where)
            seen.add(name)
            if wire == 0:
                value: Any
                value, place = _varint(data, place, where)
                yield name, value
                continue
            if wire == 2:
                length, place = _varint(data, place, where)
            else:
                length = 8 if wire == 1 else 4
            if not 0 <= length <= len(data) - place:
                _refuse(f"{name} claims {length} bytes of {len(data) - place}", where)
            value = data[place:place + length]
            place += length
            yield name, _text(value, name, where) if one == "t" else value


def _varint(data: memoryview, place: int, where: str) -> tuple[int, int]:
    """A number of 64 bits with its sign, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            _refuse("it ends in the middle of a number", where)
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value - (1 << 64) if value >> 63 else value, place
    _refuse("a number of more than 64 bits", where)


def _numbers(value: memoryview, where: str) -> list[int]:
    numbers: list[int] = []
    place = 0
    while place < len(value) and len(numbers) <= _MAX_RANK:
        number, place = _varint(value, place, where)
        numbers.append(number)
    return numbers


def _text(value: memoryview, name: str, where: str) -> str:
    if len(value) > _MAX_TEXT:
        _refuse(f"{name} has more than {_MAX_TEXT} bytes", where)
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        _refuse(f"{name} is no text", where)


def _count(name: str, value: int | memoryview, where: str) -> int:
    """How many numbers are in a packed field; one that is not packed holds one."""
    if isinstance(value, int):
        return 1
    if size := {"float_data": 4, "double_data": 8}.get(name):
        if len(value) % size:
            _refuse(f"{name} ends in the middle of a number", where)
        return len(value) // size
    return len(bytes(value).translate(None, bytes(range(0x80, 0x100))))  # without numpy: the agent stays small
