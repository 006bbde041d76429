"""Static check of a model file, done before a runtime opens it: a strict reader of the ONNX wire format.

The device checks every file before it tries it; the pipeline checks every file before it ships it. Only fields,
operators, element types and domains of `model_limits` are accepted, so no part of a file is left to the reading of
a runtime. The reader allocates nothing by a length that the file claims, does not recurse (a graph cannot contain a
graph), and bounds the number of fields.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from edge_agent.contract import model_limits as limits

_WIRE: Final = {"v": 0, "d": 1, "t": 2, "m": 2, "w": 5}


class UnsafeModelError(ValueError):
    """A model file is refused; the message names the operator, field or limit and the place in the file."""


def check_model(path: Path, *, max_bytes: int, max_opset: int) -> None:
    """Checks that a file is a plain, self-contained network within the limits of `model_limits`.

    Args:
        path: The file. Links are not followed.
        max_bytes: Largest allowed size of the file.
        max_opset: Newest allowed operator set.

    Raises:
        UnsafeModelError: The file cannot be read, or `check_content` refuses it.
    """
    try:
        # O_NONBLOCK: a pipe must not block the open.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                _refuse("it is not a plain file", path.name)
            content = stream.read(max_bytes + 1)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else f"it cannot be read: {error.strerror}"
        raise UnsafeModelError(f"{reason}, in {path.name}") from error
    check_content(content, max_bytes=max_bytes, max_opset=max_opset)


def check_content(content: bytes, *, max_bytes: int, max_opset: int) -> None:
    """Checks the content of a model file; see `check_model`.

    Raises:
        UnsafeModelError: The content is refused.
    """
    if len(content) > max_bytes:
        _refuse(f"it has more than {max_bytes} bytes", "the file")
    _Reader(max_opset).check_model(memoryview(content))


def _refuse(reason: str, where: str) -> NoReturn:
    raise UnsafeModelError(f"{reason}, in {where}")


class _Reader:
    """Reads one file once, and counts its fields, nodes and tensors."""

    def __init__(self, max_opset: int) -> None:
        self._max_opset = max_opset
        self._fields = self._nodes = self._tensors = 0

    def check_model(self, data: memoryview) -> None:
        graphs, opsets, version = [], [], 0
        for name, value in self._fields_of(data, limits.MODEL, "model"):
            if name == "graph":
                graphs.append(value)
            elif name == "opset_import":
                opsets.append(dict(self._fields_of(value, limits.OPSET, "opset_import")))
            elif name == "ir_version":
                version = value
        if not graphs or not 3 <= version <= 64:
            _refuse("it is not an ONNX model: it has no graph or an unknown IR version", "model")
        if len(opsets) != 1 or opsets[0].get("domain", "") not in ("", "ai.onnx"):
            _refuse("it declares operator sets other than that of the ONNX standard", "opset_import")
        if not 1 <= opsets[0].get("version", 0) <= self._max_opset:
            _refuse(f"operator set {opsets[0].get('version', 0)} is not 1 to {self._max_opset}", "opset_import")
        self._check_graph(graphs[0])

    def _check_graph(self, data: memoryview) -> None:
        shapes: dict[str, list[tuple[int, list[int]]]] = {"input": [], "output": [], "value_info": []}
        for name, value in self._fields_of(data, limits.GRAPH, "graph"):
            if name == "node":
                self._check_node(value)
            elif name == "initializer":
                self._check_tensor(value, "initializer")
            elif name in shapes:
                shapes[name].append(self._type_and_shape(value, name))
        inputs, outputs = shapes["input"], shapes["output"]
        if len(inputs) != 1 or len(outputs) != 1:
            _refuse(f"it has {len(inputs)} inputs and {len(outputs)} outputs instead of one each", "graph")
        (kind, sides), (out_kind, out_sides) = inputs[0], outputs[0]
        if kind != limits.FLOAT or len(sides) != 4 or not all(1 <= side <= limits.MAX_SIDE for side in sides[1:]):
            _refuse(f"it is not float32 [N, C, H, W] with C, H and W fixed and at most {limits.MAX_SIDE}", "input")
        if sides[1] * sides[2] * sides[3] > limits.MAX_ELEMENTS or not self._nodes:
            _refuse(f"an image has more than {limits.MAX_ELEMENTS} elements, or there are no nodes", "graph")
        if out_kind != limits.FLOAT or len(out_sides) != 2 or not 1 <= out_sides[1] <= limits.MAX_ELEMENTS:
            _refuse("it is not float32 logits [N, classes]", "output")

    def _check_node(self, data: memoryview) -> None:
        self._nodes += 1
        if self._nodes > limits.MAX_NODES:
            _refuse(f"it has more than {limits.MAX_NODES} nodes", "graph")
        operator, where = "", f"node {self._nodes - 1}"
        for name, value in self._fields_of(data, limits.NODE, where):
            if name == "op_type":
                operator = value
            elif name == "domain" and value not in ("", "ai.onnx"):
                _refuse(f"operator domain {value!r:.60} is not allowed", where)
            elif name == "attribute":
                self._check_attribute(value, where)
        if operator not in limits.OPERATORS:
            _refuse(f"operator {operator!r:.60} is not allowed", where)

    def _check_attribute(self, data: memoryview, where: str) -> None:
        numbers = 0
        for name, value in self._fields_of(data, limits.ATTRIBUTE, f"attribute of {where}"):
            if name == "t":
                self._check_tensor(value, where)
            elif name in ("floats", "ints"):
                numbers += len(value) if isinstance(value, memoryview) else 1
                if numbers > limits.MAX_LIST:
                    _refuse(f"an attribute has more than {limits.MAX_LIST} numbers", where)

    def _check_tensor(self, data: memoryview, where: str) -> None:
        self._tensors += 1
        where = f"tensor {self._tensors - 1} ({where})"
        if self._tensors > limits.MAX_TENSORS:
            _refuse(f"it has more than {limits.MAX_TENSORS} tensors", where)
        sides: list[int] = []
        kind, raw_bytes, counts = 0, -1, dict.fromkeys(limits.DATA_FIELDS, 0)
        for name, value in self._fields_of(data, limits.TENSOR, where):
            if name == "dims":
                sides += [value] if isinstance(value, int) else _numbers(value, where)
            elif name == "data_type":
                kind = value
            elif name == "data_location" and value != 0:
                _refuse("its data are in another file", where)
            elif name == "raw_data":
                raw_bytes = len(value)
            elif name in counts:
                counts[name] += _count(name, value, where)
        if (kind not in limits.ELEMENT_BYTES or len(sides) > limits.MAX_RANK
                or not all(0 <= side < 1 << 31 for side in sides)):
            _refuse(f"element type {kind} or shape {sides[:limits.MAX_RANK]} is not allowed", where)
        elements, used = math.prod(sides), [name for name, count in counts.items() if count]
        if raw_bytes >= 0:
            fits = not used and raw_bytes == elements * limits.ELEMENT_BYTES[kind]
        else:
            fits = sum(counts.values()) == elements and all(kind in limits.DATA_FIELDS[name] for name in used)
        if not fits:
            _refuse(f"the data do not fit shape {sides}", where)

    def _type_and_shape(self, data: memoryview, where: str) -> tuple[int, list[int]]:
        """Returns element type and shape; -1 stands for a dynamic dimension."""
        kind, sides = 0, []
        types = [value for name, value in self._fields_of(data, limits.VALUE, where) if name == "type"]
        tensors = [value for item in types for name, value in self._fields_of(item, limits.TYPE, where)
                   if name == "tensor_type"]
        for tensor in tensors:
            for name, value in self._fields_of(tensor, limits.TENSOR_TYPE, where):
                if name == "elem_type":
                    kind = value
                else:
                    dims = [dict(self._fields_of(dim, limits.DIM, where))
                            for _, dim in self._fields_of(value, limits.SHAPE, where)]
                    sides = [-1 if "dim_param" in dim else int(dim.get("dim_value", -1)) for dim in dims]
        return kind, sides

    def _fields_of(self, data: memoryview, table: dict[int, str], where: str) -> Iterator[tuple[str, Any]]:
        """Yields name and value of each field of a message.

        A second occurrence of a field that is not repeated is refused: two readers might use different ones.
        """
        seen, offset = set(), 0
        while offset < len(data):
            self._fields += 1
            if self._fields > limits.MAX_FIELDS:
                _refuse(f"it has more than {limits.MAX_FIELDS} fields", where)
            key, offset = _varint(data, offset, where)
            kind, _, name = table.get(key >> 3, "").partition(" ")
            single, wire = kind.lower(), key & 7
            packed = kind in ("V", "W", "D") and wire == 2
            if not kind or key >> 32 or (wire != _WIRE[single] and not packed):
                _refuse(f"field {key >> 3:.0f} is not allowed", where)
            if kind == single and name in seen:
                _refuse(f"field {name} occurs twice", where)
            seen.add(name)
            if wire == 0:
                value: Any
                value, offset = _varint(data, offset, where)
                yield name, value
                continue
            if wire == 2:
                length, offset = _varint(data, offset, where)
            else:
                length = 8 if wire == 1 else 4
            if not 0 <= length <= len(data) - offset:
                _refuse(f"{name} claims {length} bytes of {len(data) - offset}", where)
            value = data[offset:offset + length]
            offset += length
            yield name, _text(value, name, where) if single == "t" else value


def _varint(data: memoryview, offset: int, where: str) -> tuple[int, int]:
    """Returns a signed 64-bit number and the offset behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(data):
            _refuse("the data end inside a number", where)
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value - (1 << 64) if value >> 63 else value, offset
    _refuse("a number has more than 64 bits", where)


def _numbers(value: memoryview, where: str) -> list[int]:
    numbers: list[int] = []
    offset = 0
    while offset < len(value) and len(numbers) <= limits.MAX_RANK:
        number, offset = _varint(value, offset, where)
        numbers.append(number)
    return numbers


def _text(value: memoryview, name: str, where: str) -> str:
    if len(value) > limits.MAX_TEXT_BYTES:
        _refuse(f"{name} has more than {limits.MAX_TEXT_BYTES} bytes", where)
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        _refuse(f"{name} is not UTF-8", where)


def _count(name: str, value: int | memoryview, where: str) -> int:
    """Returns the number of elements in a field; a field that is not packed holds one."""
    if isinstance(value, int):
        return 1
    if size := {"float_data": 4, "double_data": 8}.get(name):
        if len(value) % size:
            _refuse(f"{name} ends inside a number", where)
        return len(value) // size
    # The number of final bytes of varints, without numpy: it would multiply the memory of an idle agent.
    return len(bytes(value).translate(None, bytes(range(0x80, 0x100))))
