"""ONNX graphs as they ship: self-contained, without traces of the machine, the same bytes for the same content."""

from __future__ import annotations

from pathlib import Path

import onnx

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import ExportError
from nas_pipeline.export.device_check import check_device_accepts

_STANDARD = {"", "ai.onnx"}
PRODUCER = "nas-pipeline"


def finalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` itself, in the form that ships.

    Exporters write stack traces with file paths, class names and their own version into a file; none of that is
    needed to run it, it leaks the machine, and it would change the digest from machine to machine.
    """
    model.producer_name, model.producer_version = PRODUCER, ""
    model.domain, model.doc_string = "", ""
    del model.metadata_props[:]
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        _strip_nodes(function.node)
    _strip_graph(model.graph)
    _drop_unused_domains(model)
    _share_equal_weights(model.graph)
    return model


def check(model: onnx.ModelProto) -> None:
    """Refuse what is not a valid, self-contained model.

    Raises:
        ExportError: A tensor lies in another file, an operator is not of the ONNX standard, or the ONNX checker
            (with shape inference) objects.
    """
    outside = [tensor.name for tensor in _tensors(model.graph) if tensor.external_data or tensor.data_location]
    if outside:
        raise ExportError(f"the ONNX model keeps tensors in other files ({', '.join(outside[:3])}): make it one file")
    foreign = sorted({node.domain for node in _nodes(model.graph)} - _STANDARD)
    if foreign:
        raise ExportError(f"the ONNX model needs operators outside the ONNX standard ({', '.join(foreign)})")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the ONNX checker refuses the model: {error}") from error


def save(model: onnx.ModelProto, path: Path) -> None:
    """Finalise, check and write `model` atomically.

    Raises:
        ExportError: `check` refuses it, or every device would; `path` is untouched.
    """
    check(finalise(model))
    content = model.SerializeToString(deterministic=True)
    check_device_accepts(content, path.name)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def load(path: Path) -> onnx.ModelProto:
    """Read a self-contained model; tensors in other files are never followed.

    Raises:
        ExportError: The file is missing or no ONNX model.
    """
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own error type differs between its backends
        raise ExportError(f"{path} cannot be read as an ONNX model: {error}") from error


def _strip_graph(graph: onnx.GraphProto) -> None:
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]  # inferred again by every consumer; its symbols are numbered by the exporter
    for value in (*graph.input, *graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
    for tensor in graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    _strip_nodes(graph.node)


def _strip_nodes(nodes: list[onnx.NodeProto]) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                _strip_graph(graph)


def _share_equal_weights(graph: onnx.GraphProto) -> None:
    """Keep one of each set of equal initializers.

    A network that runs its body twice (once on the mirrored image) gets two copies of each weight when batch norms
    are folded before quantisation.
    """
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return  # a subgraph sees the outer names
    outputs = {value.name for value in graph.output}
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    kept: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        anonymous = onnx.TensorProto()
        anonymous.CopyFrom(tensor)
        anonymous.name = ""
        owner = first.setdefault(anonymous.SerializeToString(deterministic=True), tensor.name)
        if owner == tensor.name or tensor.name in outputs:
            kept.append(tensor)
        else:
            renamed[tensor.name] = owner
    if not renamed:
        return
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    """The quantiser declares a dozen operator sets that it does not use; a careful device would refuse them."""
    used = {node.domain for node in _nodes(model.graph)} | {""}
    used |= {node.domain for function in model.functions for node in function.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                found += _nodes(inner)
    return found


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    found = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        found += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            found += ([attribute.t] if attribute.HasField("t") else []) + list(attribute.tensors)
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                found += _tensors(inner)
    return found
