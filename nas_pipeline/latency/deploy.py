"""Deployment cost of a network for the search: the network is exported, and its files are timed and measured."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from nas_pipeline.core.records import InputSpec, Precision
from nas_pipeline.export.int8 import quantize_int8
from nas_pipeline.export.onnx_file import export_onnx
from nas_pipeline.latency.measure import quick_latency_ms

_RANGE_IMAGES = 64


@dataclass(frozen=True, slots=True)
class OnnxDeploy:
    """Callable (network, spec) -> latency_ms of its fastest file on this host, size_bytes of its smallest file.

    It can be pickled, as search workers are separate processes.
    """

    precisions: tuple[Precision, ...] = ("fp32", "int8")
    opset: int = 20
    threads: int = 1
    runs: int = 40
    warmup: int = 10

    def __call__(self, net: nn.Module, spec: InputSpec) -> dict[str, float]:
        """Export to temporary files and measure them.

        Raises:
            ExportError: The network cannot be exported or quantised.
        """
        with tempfile.TemporaryDirectory() as folder:
            figures: dict[str, tuple[float, int]] = {}
            for precision, path in self._files(net, spec, Path(folder)).items():
                latency = quick_latency_ms(path, self.threads, runs=self.runs, warmup=self.warmup)
                figures[precision] = (latency, path.stat().st_size)
        fastest = min(figures, key=lambda precision: figures[precision])
        return {
            "latency_ms": figures[fastest][0],
            "size_bytes": float(min(size for _, size in figures.values())),  # timing noise decides which is fastest
            **{f"{precision}_latency_ms": latency for precision, (latency, _) in figures.items()},
        }

    def _files(self, net: nn.Module, spec: InputSpec, folder: Path) -> dict[Precision, Path]:
        paths: dict[Precision, Path] = {"fp32": folder / "fp32.onnx"}
        export_onnx(net, spec, paths["fp32"], opset=self.opset)
        if "int8" in self.precisions:
            # Calibration on noise changes the logits of the file, but not its latency.
            shape = (_RANGE_IMAGES, spec.channels, spec.height, spec.width)
            noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            paths["int8"] = folder / "int8.onnx"
            quantize_int8(paths["fp32"], paths["int8"], noise)
        return {precision: paths[precision] for precision in self.precisions}
