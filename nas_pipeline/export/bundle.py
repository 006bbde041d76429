"""Bundles on disk: model.onnx and bundle.json. Reading a bundle verifies its files against their checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_pipeline.core.files import atomic_path, read_json, sha256_file, write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec, ModelBundle, Parity, Precision
from nas_pipeline.errors import ExportError, SpaceError
from nas_pipeline.export.device_check import check_device_accepts

MODEL_FILE = "model.onnx"
BUNDLE_FILE = "bundle.json"


def write_bundle(
    folder: Path, *, model: Path, target: str, genotype: Genotype, spec: InputSpec, precision: Precision,
    metrics: dict[str, float], parity: Parity, provenance: dict[str, Any],
) -> ModelBundle:
    """Copy `model` (an ONNX file) into `folder`, write its description, and return the description.

    The description is written last, so `read_bundle` rejects the folder after a crash in between. `metrics` contains at
    least val_accuracy and fp32_val_accuracy; `size_bytes` is computed from the file.

    Raises:
        ExportError: `model` cannot be read, or every device would refuse it.
    """
    try:
        content = model.read_bytes()
    except OSError as error:
        raise ExportError(f"{model} cannot be read: {error}") from error
    check_device_accepts(content, str(model))
    shipped = folder / MODEL_FILE
    with atomic_path(shipped) as temporary:
        temporary.write_bytes(content)
    bundle = ModelBundle(
        target=target, genotype=genotype, files={MODEL_FILE: sha256_file(shipped)}, spec=spec, precision=precision,
        metrics={**metrics, "size_bytes": float(len(content))}, parity=parity, provenance=provenance,
    )
    write_json(folder / BUNDLE_FILE, bundle.to_json())
    return bundle


def read_bundle(folder: Path) -> ModelBundle:
    """Read the bundle in `folder` and check every file against its sha256.

    Raises:
        ExportError: A file is missing or was changed, or the folder is not a bundle.
    """
    path = folder / BUNDLE_FILE
    try:
        value = read_json(path)
        bundle = ModelBundle.from_json(value)
    except FileNotFoundError:
        raise ExportError(f"{folder} has no {BUNDLE_FILE}: run the export stage for this target") from None
    except (ValueError, TypeError, KeyError, AttributeError, SpaceError) as error:
        raise ExportError(f"{path} is not a bundle ({type(error).__name__}: {error}): run the export stage") from error
    if MODEL_FILE not in bundle.files:
        raise ExportError(f"{path} lists no {MODEL_FILE}: run the export stage again")
    if value.get("digest") != bundle.digest:
        raise ExportError(f"{path} was changed after it was written: its digest does not match its content")
    for name, expected in bundle.files.items():
        _check_file(folder, name, expected)
    return bundle


def _check_file(folder: Path, name: str, expected: str) -> None:
    file = folder / name
    if Path(name).name != name or file.is_symlink():
        raise ExportError(f"bundle {folder} lists {name!r}: its files must be in the folder itself")
    if not file.is_file():
        raise ExportError(f"bundle {folder} lists {name}, which is missing: run the export stage again")
    actual = sha256_file(file)
    if actual != expected:
        raise ExportError(
            f"{file} is not the file that was bundled: sha256 {actual[:12]}..., expected {expected[:12]}...; "
            f"restore it or run the export stage again"
        )
