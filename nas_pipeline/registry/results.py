"""Reads the outputs of the stages under artifacts/ as records. No other module of the package depends on the layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_pipeline.core.files import read_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.predictions import Predictions, read_predictions
from nas_pipeline.core.records import DatasetManifest, GateResult, LatencyReport, ModelBundle, TrainResult
from nas_pipeline.errors import RegistryError
from nas_pipeline.export.bundle import MODEL_FILE, read_bundle


@dataclass(frozen=True, slots=True)
class TargetResult:
    """The outputs of export and verify for one target."""

    bundle: ModelBundle
    latency: LatencyReport
    gates: tuple[GateResult, ...]
    export_folder: Path
    verify_folder: Path
    predictions: Predictions | None
    """The predictions of this file on the test images; None where retrain did not evaluate it."""

    @property
    def model(self) -> Path:
        """Path of the ONNX file."""
        return self.export_folder / MODEL_FILE


@dataclass(frozen=True, slots=True)
class Results:
    """The outputs of one run of the pipeline."""

    folder: Path
    dataset: DatasetManifest
    trials: list[dict[str, Any]]
    winner: dict[str, Any]
    genotype: Genotype
    retrained: TrainResult
    history: dict[str, list[dict[str, float]]]
    targets: dict[str, TargetResult]


def artifacts(root: Path) -> Path:
    """Returns the folder of artefacts of a workspace."""
    return root / "artifacts"


def read_dataset(root: Path) -> DatasetManifest:
    """Returns the manifest that ingest wrote.

    Raises:
        RegistryError: There is none.
    """
    return DatasetManifest.from_json(_read(artifacts(root) / "ingest" / "dataset.json"))


def read_results(root: Path, targets: Sequence[str] | None = None) -> Results:
    """Returns everything that the stages wrote, for `targets` or, by default, for all verified targets.

    Raises:
        ExportError: A bundle is missing, or a file differs from the bundled one.
        RegistryError: Another file is missing or not JSON.
    """
    folder = artifacts(root)
    if targets is None:
        targets = sorted(path.parent.name for path in (folder / "verify").glob("*/gates.json"))
    winner = _read(folder / "search" / "winner.json")
    return Results(
        folder=folder,
        dataset=read_dataset(root),
        trials=_read(folder / "search" / "trials.json"),
        winner=winner,
        genotype=Genotype.from_json(winner["genotype"]),
        retrained=TrainResult.from_json(_read(folder / "retrain" / "result.json")),
        history=_read(folder / "retrain" / "history.json"),
        targets={target: read_target(root, target) for target in targets},
    )


def read_target(root: Path, target: str) -> TargetResult:
    """Returns what export and verify wrote for one target.

    Raises:
        ExportError: The bundle is missing, or a file differs from the bundled one.
        RegistryError: A file of verify is missing or not JSON.
    """
    export_folder, verify_folder = (artifacts(root) / stage / target for stage in ("export", "verify"))
    bundle = read_bundle(export_folder)
    return TargetResult(
        bundle=bundle,
        latency=LatencyReport.from_json(_read(verify_folder / "latency.json")),
        gates=tuple(GateResult.from_json(gate) for gate in _read(verify_folder / "gates.json")),
        export_folder=export_folder,
        verify_folder=verify_folder,
        predictions=_predictions(artifacts(root) / "retrain" / "predictions.npz", bundle.files[MODEL_FILE]),
    )


def _predictions(path: Path, sha256: str) -> Predictions | None:
    if not path.is_file():
        return None  # written by a version of retrain that recorded no predictions
    try:
        return read_predictions(path).get(sha256)
    except ValueError as error:
        raise RegistryError(f"{error}; run `dvc repro retrain` again") from error


def numbers(path: Path) -> dict[str, float]:
    """Returns the numbers of a metrics.json; empty where there is no such file."""
    if not path.is_file():
        return {}
    return {
        key: float(value)
        for key, value in _read(path).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise RegistryError(f"{path} is missing: run `nas pipeline` (or `dvc repro`) first") from None
    except ValueError as error:
        raise RegistryError(f"{error}; run its stage again") from error
