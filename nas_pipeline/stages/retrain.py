"""Stage `retrain`: trains the winner and the hand-designed networks, and scores the files that may ship."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping

from nas_pipeline.config.schema.export import ExportSection
from nas_pipeline.config.schema.retrain import RetrainSection
from nas_pipeline.config.schema.targets import TargetSection
from nas_pipeline.config.schema.train import TrainSection
from nas_pipeline.core.catalog import Catalog
from nas_pipeline.core.files import atomic_path, read_json, write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.predictions import Predictions, write_predictions
from nas_pipeline.core.records import InputSpec, TrainResult
from nas_pipeline.data.loaders import load_calib, load_manifest, normalise
from nas_pipeline.data.test_split import count_reads
from nas_pipeline.space.baselines import BASELINES
from nas_pipeline.space.drawing import draw, layer_rows
from nas_pipeline.space.load import build_network
from nas_pipeline.stages.context import Context
from nas_pipeline.stages.labels import write_doubts
from nas_pipeline.stages.scoring import FileScores
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.retrain import Retrained, RetrainJob, load_trained_network
from nas_pipeline.train.retrain import retrain as retrain_all


def run_retrain(
    context: Context, *, retrain: RetrainSection, train: TrainSection, export: ExportSection,
    targets: Mapping[str, TargetSection],
) -> None:
    """Trains the winner and the baselines; writes weights, results, learning curves and the files' predictions.

    The test split is read once, when nothing is left to choose.
    """
    data = context.artefacts("ingest")
    winner = Genotype.from_json(read_json(context.artefacts("search") / "winner.json")["genotype"])
    known: Catalog[Genotype] = Catalog("baseline", {name: (lambda g=g: g) for name, g in BASELINES.items()})
    jobs = [RetrainJob("winner", winner, tuple(range(retrain.seeds)))]
    jobs += [RetrainJob(name, known.make(name), (0,)) for name in retrain.baselines]
    manifest, ledger = load_manifest(data), context.work / "test_reads.jsonl"
    reads_before = count_reads(ledger, manifest.digest)
    opsets = sorted({target.opset for target in targets.values()})
    calib = normalise(load_calib(data).images, manifest)
    scores = FileScores(manifest, opsets, calib, export.calibration)
    recipe = train.as_recipe()
    working_state = context.work / "retrain" / context.code_version()[:16]
    outcome = retrain_all(
        jobs, data, recipe, TrainBudget(epochs=retrain.epochs, device_s=retrain.device_s),
        workers=retrain.workers, device=train.device, folder=working_state, ledger=ledger,
        progress=context.progress, score_files=scores,
    )
    reads = count_reads(ledger, manifest.digest) - reads_before
    _write(context, recipe, winner, outcome, manifest.spec, reads, scores.predictions)


def _write(
    context: Context, recipe: Recipe, winner: Genotype, outcome: Retrained, spec: InputSpec, reads: int,
    predictions: Mapping[str, Predictions],
) -> None:
    folder, result = context.folder, outcome.results["winner"]
    baselines = {name: item for name, item in outcome.results.items() if name != "winner"}
    with atomic_path(folder / "weights.safetensors") as temporary:
        shutil.copyfile(outcome.weights["winner"], temporary)
    write_json(folder / "result.json", result.to_json())
    write_json(folder / "baselines.json", {name: item.to_json() for name, item in baselines.items()})
    write_json(folder / "history.json", outcome.history)
    write_json(folder / "files.json", outcome.files)
    write_predictions(folder / "predictions.npz", predictions)
    rows = layer_rows(build_network(winner, spec), spec)
    for suffix in ("svg", "png"):
        draw(winner, rows, folder / f"drawing.{suffix}")
    data = context.artefacts("ingest")
    net = load_trained_network(winner, load_manifest(data), outcome.weights["winner"], recipe)
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
