"""Releases of a toy model, as rows."""

from __future__ import annotations

from edge_agent.wire import SCHEMA, WHOLE, Golden, Release, Sheet, Wave, onnx_path
from nas_pipeline.fleet.releases import Listed

FAMILY, MODEL = "local-cpu", "toy-set--local-cpu"
SHARES = (1000, 5000, WHOLE)


def listed(counter: int, file: str = "a", index: int = 0, shares: tuple[int, ...] = SHARES) -> Listed:
    """A release of the file whose digest is `file` 64 times."""
    sha256 = file * 64
    golden = Golden(images=1, pixels="AAAA", logits="AAAAAA==", tolerance=0.1, agreement=1.0)
    release = Release(
        schema=SCHEMA, model=MODEL, version=str(counter), bundle="b" * 64, counter=counter, hardware=(FAMILY,),
        ort=("1.20", "2"), opset=20, min_agent="0.1.0", memory_mb=100.0, latency_ms=1.0, threads=1,
        golden=golden.sha256, wave=Wave("5a" * 16, shares, index),
    )
    sheet = Sheet(
        counter=counter, onnx=onnx_path(FAMILY, MODEL, sha256), channels=1, height=1, width=3, class_names=("x",),
        mean=(0.5,), std=(0.25,), golden=golden, evidence={"test_accuracy": 0.9},
    )
    return Listed(release, sheet)
