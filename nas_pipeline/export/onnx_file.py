"""Export of a network to one ONNX file: dynamic batch, no external tensors, equal bytes for equal networks."""

from __future__ import annotations

import copy
from pathlib import Path

import onnx
import torch
from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ExportError
from nas_pipeline.export import graph
from nas_pipeline.export.log_filters import exporter_log_filter
from nas_pipeline.export.session import INPUT, OUTPUT

_MAX_BATCH = 4096


def export_onnx(net: nn.Module, spec: InputSpec, path: Path, *, opset: int) -> None:
    """Write `net` to `path`: input [batch, channels, height, width] float32 -> logits [batch, classes] float32.

    A copy is exported (`inference_copy`), so `net` is not changed, and the file does not depend on the device and the
    memory format of training. `opset` 18 is the oldest that the exporter writes without conversion.

    Raises:
        ExportError: The exporter or the checker rejects the network; `path` is not changed.
    """
    duplicate = inference_copy(net)
    example = torch.zeros(2, spec.channels, spec.height, spec.width)
    try:
        with torch.no_grad(), exporter_log_filter():
            program = torch.onnx.export(
                duplicate, (example,), dynamo=True, input_names=[INPUT], output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=_MAX_BATCH)},),
                opset_version=opset, external_data=False, verbose=False,
            )
    except Exception as error:  # the exporter raises many types, most of which are private
        raise ExportError(f"torch cannot export {type(net).__name__} at opset {opset}: {_first_line(error)}") from error
    if program is None:
        raise ExportError(f"torch exported nothing for {type(net).__name__}")
    model = program.model_proto
    _require_opset(model, opset)
    _require_dynamic_batch(model)
    graph.save(model, path)


def inference_copy(net: nn.Module) -> nn.Module:
    """Return a copy of `net` in the form that ships: eval mode, float32, CPU, contiguous memory format."""
    duplicate = copy.deepcopy(net).cpu().float().eval()
    for tensor in (*duplicate.parameters(), *duplicate.buffers()):
        # contiguous() leaves a weight with one input channel in channels_last, which changes the graph.
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return duplicate


def _require_opset(model: onnx.ModelProto, opset: int) -> None:
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("") != opset:
        raise ExportError(f"the exporter wrote opset {opsets}, not {opset}: choose an opset that torch can convert to")


def _require_dynamic_batch(model: onnx.ModelProto) -> None:
    """Check for a dynamic batch: the exporter silently freezes it if the network computes with it (as `chunk(2)`)."""
    for value in (*model.graph.input, *model.graph.output):
        batch = value.type.tensor_type.shape.dim[0]
        if not batch.dim_param:
            raise ExportError(
                f"the exporter froze the batch of {value.name!r} to {batch.dim_value}: the network's forward computes "
                f"with the batch size; use operations without the first dimension (view(2, -1, ...), slices)"
            )


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
