"""A bundle on disk: model.onnx and bundle.json. Reading one proves that the files are those that were written."""

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
    """Copy `model` (an ONNX file anywhere) into `folder` and describe it beside; returns the description.

    The description is written last: a crash in between leaves a folder which `read_bundle` refuses. `metrics` holds
    at least val_accuracy and fp32_val_accuracy; `size_bytes` is taken from the file.

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
    """The bundle in `folder`, after a check of every file against its sha256.

    Raises:
        ExportError: Something is missing, not a bundle, or not what was written.
    """
    path = folder / BUNDLE_FILE
    try:
        value = read_json(path)
        bundle = ModelBundle.from_json(value)
    except FileNotFoundError:
        raise ExportError(f"{folder} holds no {BUNDLE_FILE}: run the export stage for this target") from None
    except (ValueError, TypeError, KeyError, AttributeError, SpaceError) as error:
        raise ExportError(f"{path} is not a bundle ({type(error).__name__}: {error}): run the export stage") from error
    if MODEL_FILE not in bundle.files:
        raise ExportError(f"{path} lists no {MODEL_FILE}: run the export stage again")
    if value.get("digest") != bundle.digest:
        raise ExportError(f"{path} was changed after it was written: its digest is not that of its content")
    for name, expected in bundle.files.items():
        _check_file(folder, name, expected)
    return bundle


def _check_file(folder: Path, name: str, expected: str) -> None:
    file = folder / name
    if Path(name).name != name or file.is_symlink():
        raise ExportError(f"bundle {folder} lists {name!r}: its files must lie in the folder itself")
    if not file.is_file():
        raise ExportError(f"bundle {folder} lists {name}, which is missing: run the export stage again")
    found = sha256_file(file)
    if found != expected:
        raise ExportError(
            f"{file} is not the file that was bundled: sha256 {found[:12]}..., the bundle says {expected[:12]}...; "
            f"restore it or run the export stage again"
        )
