"""What shipping a network would mean: it is exported, weighed and timed, as the search's idea of its cost."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.export.onnx_file import export_onnx
from nas_pipeline.latency.measure import quick_latency_ms


@dataclass(frozen=True, slots=True)
class OnnxDeploy:
    """Callable (network, spec) -> latency_ms and size_bytes of its fp32 ONNX file on this host. Picklable."""

    opset: int = 20
    threads: int = 1
    runs: int = 40
    warmup: int = 10

    def __call__(self, net: nn.Module, spec: InputSpec) -> dict[str, float]:
        """Export to a temporary file and measure it.

        Raises:
            ExportError: The network cannot be exported.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            export_onnx(net, spec, path, opset=self.opset)
            latency = quick_latency_ms(path, self.threads, runs=self.runs, warmup=self.warmup)
            return {"latency_ms": latency, "size_bytes": float(path.stat().st_size)}
