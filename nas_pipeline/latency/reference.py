"""Where the reference model lies: written once into a working folder, versioned by name."""

from __future__ import annotations

from pathlib import Path

REFERENCE_FILE = "reference-1.onnx"


def reference_model(work: Path) -> Path:
    """The reference model's file in `work`, made at the first call."""
    path = work / REFERENCE_FILE
    if not path.exists():
        from nas_pipeline.export.reference import write_reference  # onnx is not needed when the file is there

        write_reference(path)
    return path
