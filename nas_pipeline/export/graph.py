"""ONNX graphs as they ship: self-contained, without metadata of the machine, equal bytes for equal content."""

from __future__ import annotations

from pathlib import Path

import onnx

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import ExportError
from nas_pipeline.export.device_check import check_device_accepts

_STANDARD = {"", "ai.onnx"}
PRODUCER = "nas-pipeline"


def finalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bring `model` into the form that ships, in place, and return it.

    Exporters write stack traces with file paths, class names and their version into a file. This metadata is not needed
    to run the model, reveals properties of the machine, and makes the digest depend on it. It is removed.
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
    """Check that `model` is valid and self-contained.

    Raises:
        ExportError: A tensor is in another file, an operator is not in the ONNX standard, or the ONNX checker (with
            shape inference) fails.
    """
    outside = [tensor.name for tensor in _tensors(model.graph) if tensor.external_data or tensor.data_location]
    if outside:
        raise ExportError(f"the ONNX model has tensors in other files ({', '.join(outside[:3])}): make it one file")
    foreign = sorted({node.domain for node in _nodes(model.graph)} - _STANDARD)
    if foreign:
        raise ExportError(f"the ONNX model needs operators outside the ONNX standard ({', '.join(foreign)})")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the ONNX checker rejects the model: {error}") from error


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
    """Read a self-contained model; tensors in other files are never loaded.

    Raises:
        ExportError: The file is missing or is not an ONNX model.
    """
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # the error type of protobuf differs between its backends
        raise ExportError(f"{path} cannot be read as an ONNX model: {error}") from error


def _strip_graph(graph: onnx.GraphProto) -> None:
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]  # every consumer infers it; the exporter numbers its symbols
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
    """Merge equal initializers.

    A network that runs its body twice (once on the mirrored image) has two copies of each weight after batch norms were
    folded before quantisation.
    """
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return  # a subgraph can refer to outer names
    outputs = {value.name for value in graph.output}
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    retained: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        anonymous = onnx.TensorProto()
        anonymous.CopyFrom(tensor)
        anonymous.name = ""
        owner = first.setdefault(anonymous.SerializeToString(deterministic=True), tensor.name)
        if owner == tensor.name or tensor.name in outputs:
            retained.append(tensor)
        else:
            renamed[tensor.name] = owner
    if not renamed:
        return
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    del graph.initializer[:]
    graph.initializer.extend(retained)


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    """Remove operator sets that are not used: the quantiser declares a dozen, which a strict device would reject."""
    used = {node.domain for node in _nodes(model.graph)} | {""}
    used |= {node.domain for function in model.functions for node in function.node}
    retained = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(retained)


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    nodes = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                nodes += _nodes(inner)
    return nodes


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    tensors = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += ([attribute.t] if attribute.HasField("t") else []) + list(attribute.tensors)
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                tensors += _tensors(inner)
    return tensors
