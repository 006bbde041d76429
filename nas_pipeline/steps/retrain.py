"""Retrain: the winner and the hand-designed networks, and the accuracy of the very files that may ship."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.core.files import atomic_path, read_json, sha256_file, write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec, Precision, TrainResult
from nas_pipeline.data.loaders import load_calib, load_manifest, normalise
from nas_pipeline.data.test_split import count_reads
from nas_pipeline.space.baselines import BASELINES
from nas_pipeline.space.drawing import draw, layer_rows
from nas_pipeline.space.load import build_network
from nas_pipeline.steps.context import Context
from nas_pipeline.steps.labels import write_doubts
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.retrain import Entry, Retrained, load_finished, retrain

Images = npt.NDArray[np.float32]


def run_retrain(context: Context) -> None:
    """Winner -> weights, results, learning curves, and the test accuracy of each file that may ship."""
    params, data = context.params.retrain, context.artefacts("ingest")
    winner = Genotype.from_json(read_json(context.artefacts("search") / "winner.json")["genotype"])
    known: Catalog[Genotype] = Catalog("baseline", {name: (lambda g=g: g) for name, g in BASELINES.items()})
    entries = [Entry("winner", winner, tuple(range(params.seeds)))]
    entries += [Entry(name, known.make(name), (0,)) for name in params.baselines]
    manifest, ledger = load_manifest(data), context.work / "test_reads.jsonl"
    reads_before = count_reads(ledger, manifest.digest)
    opsets = sorted({target.opset for target in context.params.targets.values()})
    calib = normalise(load_calib(data).images, manifest)
    outcome = retrain(
        entries, data, context.recipe, TrainBudget(epochs=params.epochs, device_s=params.device_s),
        workers=params.workers, device=context.params.train.device, folder=context.work / "retrain", ledger=ledger,
        progress=context.progress,
        score_files=lambda net, images, labels: score_files(
            net, manifest.spec, opsets, calib, context.params.export.calibration, images, labels
        ),
    )
    reads = count_reads(ledger, manifest.digest) - reads_before
    _write(context, winner, outcome, manifest.spec, reads)


def export_candidates(
    net: nn.Module, spec: InputSpec, opset: int, calib: Images, calibration: Any, folder: Path
) -> dict[Precision, Path]:
    """The files that may ship: precision -> path. Equal inputs give equal bytes."""
    from nas_pipeline.export.int8 import quantize_int8
    from nas_pipeline.export.onnx_file import export_onnx

    paths: dict[Precision, Path] = {"fp32": folder / "fp32.onnx", "int8": folder / "int8.onnx"}
    export_onnx(net, spec, paths["fp32"], opset=opset)
    quantize_int8(paths["fp32"], paths["int8"], calib, calibration=calibration)
    return paths


def score_files(
    net: nn.Module, spec: InputSpec, opsets: list[int], calib: Images, calibration: Any, images: Images,
    labels: npt.NDArray[np.int64],
) -> dict[str, dict[str, Any]]:
    """sha256 -> {precision, opset, accuracy} of every file that `net` may ship as."""
    from nas_pipeline.export.accuracy import accuracy

    scores: dict[str, dict[str, Any]] = {}
    for opset in opsets:
        with tempfile.TemporaryDirectory() as folder:
            for precision, path in export_candidates(net, spec, opset, calib, calibration, Path(folder)).items():
                scores[sha256_file(path)] = {
                    "precision": precision, "opset": opset, "accuracy": accuracy(path, images, labels)
                }
    return scores


def _write(context: Context, winner: Genotype, outcome: Retrained, spec: InputSpec, reads: int) -> None:
    folder, result = context.folder, outcome.results["winner"]
    baselines = {name: item for name, item in outcome.results.items() if name != "winner"}
    with atomic_path(folder / "weights.safetensors") as temporary:
        shutil.copyfile(outcome.weights["winner"], temporary)
    write_json(folder / "result.json", result.to_json())
    write_json(folder / "baselines.json", {name: item.to_json() for name, item in baselines.items()})
    write_json(folder / "history.json", outcome.history)
    write_json(folder / "files.json", outcome.files)
    rows = layer_rows(build_network(winner, spec), spec)
    for suffix in ("svg", "png"):
        draw(winner, rows, folder / f"drawing.{suffix}")
    data = context.artefacts("ingest")
    net = load_finished(winner, load_manifest(data), outcome.weights["winner"], context.recipe)
    doubts = write_doubts(net, data, folder)
    write_json(folder / "metrics.json", {**_metrics(result, baselines, reads), "doubtful_labels": doubts})


def _metrics(result: TrainResult, baselines: Mapping[str, TrainResult], reads: int) -> dict[str, float]:
    metrics = {
        "val_accuracy": statistics.fmean(result.val_accuracy), "test_accuracy": statistics.fmean(result.test_accuracy),
        "test_accuracy_min": min(result.test_accuracy), "test_accuracy_max": max(result.test_accuracy),
        "seeds": len(result.seeds), "params": result.params, "macs": result.macs, "device_s": sum(result.device_s),
        "test_reads": reads,
    }
    for name, item in baselines.items():
        metrics[f"{name}_test_accuracy"] = statistics.fmean(item.test_accuracy)
        metrics[f"{name}_params"] = item.params
    return metrics
