"""Collects, stores and reads the evidence of a version: measurements and predictions, covered by one digest."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from nas_pipeline.core.files import canonical_json, read_json, sha256_file, sha256_text
from nas_pipeline.core.predictions import read_predictions, write_predictions
from nas_pipeline.core.records import DatasetManifest, GateResult, LatencyReport, ModelBundle
from nas_pipeline.errors import NasError, RegistryError
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.export.drift_reference import FILE as DRIFT
from nas_pipeline.export.golden import FILE as GOLDEN
from nas_pipeline.gates.challenger import Challenger, ChampionPredictions, Integrity
from nas_pipeline.gates.gate import all_green
from nas_pipeline.gates.promotion import integrity_gates
from nas_pipeline.registry.model_card import ModelCardData, render_model_card
from nas_pipeline.registry.onnx_model import EVIDENCE
from nas_pipeline.registry.results import Results
from nas_pipeline.registry.statement import Statement
from nas_pipeline.registry.tags import EVIDENCE_SHA256, WITHDRAWN

_PREDICTIONS = "predictions.npz"


def evidence(results: Results, target: str, statement: Statement, provenance: Mapping[str, str]) -> dict[str, bytes]:
    """Returns file name -> content: bundle, latency, gates, data set, validation, predictions, drawing, model card."""
    result, folder = results.targets[target], results.folder
    paths = {
        "bundle.json": result.export_folder / "bundle.json", "latency.json": result.verify_folder / "latency.json",
        "gates.json": result.verify_folder / "gates.json", "dataset.json": folder / "ingest" / "dataset.json",
        "validation.json": folder / "validate" / "report.json", "drawing.svg": folder / "retrain" / "drawing.svg",
        GOLDEN: result.export_folder / GOLDEN, DRIFT: result.export_folder / DRIFT,
    }
    files = {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
    if result.predictions is not None:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / _PREDICTIONS
            write_predictions(path, {result.bundle.files[MODEL_FILE]: result.predictions})
            files[_PREDICTIONS] = path.read_bytes()
    card = render_model_card(ModelCardData(
        results.dataset, result.bundle, result.latency, result.gates, results.retrained, result.predictions, statement,
        provenance, files.get("drawing.svg"),
    ))
    return files | {name: text.encode() for name, text in card.items()}


def evidence_digest(files: Mapping[str, bytes]) -> str:
    """Returns one sha256 over the names and contents of the files."""
    return _digest({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})


def download(version: ModelVersion, folder: Path, uri: str) -> Path:
    """Downloads the files of a version into `folder` and returns the folder that holds them.

    Raises:
        RegistryError: The files cannot be read.
    """
    try:
        return Path(download_artifacts(artifact_uri=str(version.source), dst_path=str(folder), tracking_uri=uri))
    except (OSError, MlflowException) as error:  # the server responded a moment ago: the files are missing
        raise RegistryError(
            f"the files of {version.name} version {version.version} cannot be read ({error}): publish and register "
            "this bundle again"
        ) from error


def read_integrity(version: ModelVersion, files: Path) -> Integrity:
    """Returns the digests recorded when `version` was registered, and those of its downloaded `files`."""
    tags, model, folder = dict(version.tags), files / MODEL_FILE, files / EVIDENCE
    stored = {path.name: sha256_file(path) for path in folder.iterdir()} if folder.is_dir() else {}
    try:
        bundled = str(read_json(folder / "bundle.json")["files"][MODEL_FILE])
    except (OSError, ValueError, KeyError, TypeError):
        bundled = ""
    return Integrity(
        model_recorded=tags.get("sha256", ""), model_bundled=bundled,
        model_stored=sha256_file(model) if model.is_file() else "",
        evidence_recorded=tags.get(EVIDENCE_SHA256, ""), evidence_stored=_digest(stored) if stored else "",
    )


def read_challenger(version: ModelVersion, files: Path) -> Challenger:
    """Returns a version from its downloaded `files`, after its integrity gates were green.

    Raises:
        RegistryError: A file of the evidence is missing or has the wrong format.
    """
    folder = files / EVIDENCE
    try:
        bundle = ModelBundle.from_json(read_json(folder / "bundle.json"))
        recorded = folder / _PREDICTIONS
        return Challenger(
            version=str(version.version), bundle=bundle,
            latency=LatencyReport.from_json(read_json(folder / "latency.json")),
            verified=tuple(GateResult.from_json(gate) for gate in read_json(folder / "gates.json")),
            data_valid=read_json(folder / "validation.json").get("success") is True,
            predictions=read_predictions(recorded).get(bundle.files[MODEL_FILE]) if recorded.is_file() else None,
            class_names=DatasetManifest.from_json(read_json(folder / "dataset.json")).class_names,
            withdrawn=str(dict(version.tags).get(WITHDRAWN, "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, NasError) as error:
        raise RegistryError(
            f"the evidence of {version.name} version {version.version} cannot be read ({type(error).__name__}: "
            f"{error}): publish and register this bundle again"
        ) from error


def read_champion_predictions(version: ModelVersion, files: Path) -> ChampionPredictions:
    """Returns the champion's predictions; None in their place where the stored files are not the registered ones."""
    integrity, predictions = read_integrity(version, files), None
    recorded = files / EVIDENCE / _PREDICTIONS
    if all_green(integrity_gates(integrity)) and recorded.is_file():
        with contextlib.suppress(ValueError):
            predictions = read_predictions(recorded).get(integrity.model_stored)
    return ChampionPredictions(str(version.version), predictions)


def _digest(digests: Mapping[str, str]) -> str:
    return sha256_text(canonical_json(dict(digests)))
