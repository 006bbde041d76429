"""The winner from scratch with several seeds, beside hand-designed networks with the same budget.

Every epoch is chosen by validation. Then, when nothing is left to choose, the test split is read: once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from nas_pipeline.core.files import atomic_path, canonical_json, read_json, sha256_text, write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import DatasetManifest, TrainResult
from nas_pipeline.data.loaders import Split, load_search_data
from nas_pipeline.data.test_split import read_test
from nas_pipeline.errors import TrainError
from nas_pipeline.space.cost import cost
from nas_pipeline.space.load import build_network
from nas_pipeline.train.accuracy import accuracy, finished
from nas_pipeline.train.batches import Batches
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.calibration import calibrate
from nas_pipeline.train.device import on_device, pick_device
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.trainer import Row, fit
from nas_pipeline.train.workers import Worker, start_worker, stop_workers

logger = logging.getLogger(__name__)

_POLL_S = 0.3


@dataclass(frozen=True, slots=True)
class Entry:
    """One architecture to train, under a name for people: `winner`, `dense_residual`, ..."""

    name: str
    genotype: Genotype
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Retrained:
    """Results by entry name, and every run's learning curve by `name/seed-n`."""

    results: dict[str, TrainResult]
    history: dict[str, list[Row]]
    weights: dict[str, Path]
    """Per entry, the safetensors file of the seed with the best validation accuracy."""
    files: dict[str, dict[str, Any]]
    """Per run of the first entry, what `score_files` said."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One training: an entry with one seed. `folder` holds its checkpoint, then its result."""

    entry: str
    genotype: Genotype
    seed: int
    data: Path
    recipe: Recipe
    budget: TrainBudget
    device: str
    folder: Path
    precision_cache: Path

    @property
    def label(self) -> str:
        return f"{self.entry}/seed-{self.seed}"

    @property
    def done(self) -> Path:
        return self.folder / "fitted.json"

    @property
    def weights(self) -> Path:
        return self.folder / "fitted.safetensors"


Progress = Callable[[float, float, float | None, str], None]
"""(work done, work in all, seconds left, line)"""

ScoreFiles = Callable[[nn.Module, Split, bool], dict[str, Any]]
"""(finished network, test split, whether it is the one that ships) -> figures of the files it may ship as"""


def retrain(
    entries: Sequence[Entry],
    data: Path,
    recipe: Recipe,
    budget: TrainBudget,
    *,
    workers: int,
    device: str,
    folder: Path,
    ledger: Path,
    score_files: ScoreFiles,
    progress: Progress = lambda *_: None,
) -> Retrained:
    """Train all entries, resumably, then measure all of them on the test split in one read.

    Args:
        entries: What to train; all get the same recipe and budget.
        data: Folder of the ingested data.
        recipe: Training settings.
        budget: Per training.
        workers: Processes at a time.
        device: `auto`, `cpu`, `cuda`.
        folder: Working state, keyed by content below it.
        ledger: File that counts the reads of the test split.
        score_files: Called in the one read of the test split, for each seed of the first entry: export and
            quantisation change a network, so the files that may ship are measured themselves.
        progress: Called as the trainings advance.

    Raises:
        TrainError: A training diverged or its process died.
    """
    manifest = load_search_data(data).manifest
    runs = [_run_of(entry, seed, data, manifest, recipe, budget, device, folder)
            for entry in entries for seed in entry.seeds]
    _train_all(runs, workers, progress)
    test = read_test(data, ledger)
    results = {entry.name: _result(entry, [r for r in runs if r.entry == entry.name], manifest, recipe, test)
               for entry in entries}
    history = {run.label: read_json(run.done)["history"] for run in runs}
    weights = {name: _best(result, runs, name) for name, result in results.items()}
    return Retrained(results, history, weights, _files(runs, manifest, recipe, test, score_files, weights))


def _run_of(
    entry: Entry, seed: int, data: Path, manifest: DatasetManifest, recipe: Recipe, budget: TrainBudget, device: str,
    folder: Path,
) -> _Run:
    key = sha256_text(canonical_json(
        [entry.genotype.to_json(), seed, manifest.digest, recipe.to_json(), budget.epochs, budget.device_s, device]
    ))[:16]
    return _Run(entry.name, entry.genotype, seed, data, recipe, budget, device, folder / key,
                folder / "precision.json")


def _train_all(runs: Sequence[_Run], workers: int, progress: Progress) -> None:
    each = list({run.folder: run for run in reversed(runs)}.values())[::-1]  # equal networks are trained once
    waiting = [run for run in each if not run.done.exists()]
    if len(waiting) < len(each):
        logger.info("retraining goes on: %d of %d trainings are done", len(each) - len(waiting), len(each))
    active: dict[str, tuple[_Run, Worker]] = {}
    start, share_at_start = time.monotonic(), _share_done(runs)
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                run = waiting.pop(0)
                active[run.label] = (run, start_worker(_train, run))
            for label, (run, worker) in list(active.items()):
                if not worker.alive:
                    del active[label]
                    _check(run, worker)
            share = _share_done(runs)
            gained = share - share_at_start
            left = (time.monotonic() - start) / gained * (1 - share) if gained > 0.02 else None
            progress(share * len(runs), len(runs), left, f"training {', '.join(active) or 'done'}")
            time.sleep(_POLL_S)
    finally:
        stop_workers([worker for _, worker in active.values()])


def _train(run: _Run) -> None:
    """Body of a worker process."""
    spec = (data := load_search_data(run.data)).manifest.spec
    run.folder.mkdir(parents=True, exist_ok=True)

    def note(row: Row) -> bool:
        write_json(run.folder / "progress.json", row)
        return True

    fitted = fit(
        lambda: build_network(run.genotype, spec), data, run.recipe, run.budget, seed=run.seed,
        device=pick_device(run.device), checkpoint=run.folder / "checkpoint.pt", precision_cache=run.precision_cache,
        on_evaluation=note, key=run.genotype.id,
    )
    net = build_network(run.genotype, spec)
    net.load_state_dict(fitted.state)
    val = Batches(data.val, data.manifest.mean, data.manifest.std, torch.device("cpu"))
    divisor = calibrate(net, finished(net, run.recipe), val)
    with atomic_path(run.weights) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, temporary)
    write_json(run.done, {"ended": fitted.ended, "epoch": fitted.epoch, "device_s": fitted.device_s,
                          "temperature": divisor, "history": fitted.history})
    (run.folder / "checkpoint.pt").unlink(missing_ok=True)


def _check(run: _Run, worker: Worker) -> None:
    if error := worker.error():
        raise type(error)(f"the training {run.label} cannot go on: {error}")
    if worker.exitcode != 0 or not run.done.exists():
        raise TrainError(f"the training {run.label} died (exit code {worker.exitcode}); its last checkpoint is kept, "
                         "the same command goes on from there")
    outcome = read_json(run.done)
    if outcome["ended"] == "diverged":
        run.done.unlink()
        raise TrainError(f"the training {run.label} diverged; lower train.recipe.learning_rate in params.yaml")
    best = max(outcome["history"], key=lambda row: row["val_accuracy"])
    logger.info("trained %-28s val %.2f %% at epoch %.1f  %.0f device-seconds", run.label,
                100 * best["val_accuracy"], outcome["epoch"], outcome["device_s"])


def _share_done(runs: Sequence[_Run]) -> float:
    shares = []
    for run in runs:
        note = run.folder / "progress.json"
        shares.append(1.0 if run.done.exists() else float(read_json(note)["progress"]) if note.exists() else 0.0)
    return sum(shares) / len(shares)


def _result(entry: Entry, runs: Sequence[_Run], manifest: DatasetManifest, recipe: Recipe, test: Split) -> TrainResult:
    device = pick_device(runs[0].device)
    val = Batches(load_search_data(runs[0].data).val, manifest.mean, manifest.std, device)
    held_out = Batches(test, manifest.mean, manifest.std, device)
    net = build_network(entry.genotype, manifest.spec)
    counted = cost(net.eval(), manifest.spec)
    measured: list[dict[str, Any]] = []
    for run in runs:
        net.load_state_dict(load_file(run.weights))
        on_device(net, device)
        outcome = read_json(run.done)
        whole = finished(net, recipe)  # in fp32, with all its views: what is exported
        measured.append({"val": accuracy(whole, val), "test": accuracy(whole, held_out), **outcome})
    return TrainResult(
        genotype=entry.genotype, dataset_digest=manifest.digest, recipe=recipe.to_json(), seeds=entry.seeds,
        val_accuracy=tuple(m["val"] for m in measured), test_accuracy=tuple(m["test"] for m in measured),
        epochs=tuple(m["epoch"] for m in measured), device_s=tuple(m["device_s"] for m in measured),
        params=counted.params, macs=counted.macs,
    )


def _files(
    runs: Sequence[_Run], manifest: DatasetManifest, recipe: Recipe, test: Split, score: ScoreFiles,
    weights: dict[str, Path],
) -> dict[str, dict[str, Any]]:
    """Of the first entry: its best seed by validation is the one that ships."""
    first = runs[0].entry
    return {
        run.label: score(
            load_finished(run.genotype, manifest, run.weights, recipe), test, run.weights == weights[first]
        )
        for run in runs if run.entry == first
    }


def load_finished(genotype: Genotype, manifest: DatasetManifest, weights: Path, recipe: Recipe) -> nn.Module:
    """The trained network as it is judged and shipped: on the CPU, in fp32, in evaluation mode."""
    net = build_network(genotype, manifest.spec)
    net.load_state_dict(load_file(weights))
    return finished(net, recipe).eval()


def _best(result: TrainResult, runs: Sequence[_Run], name: str) -> Path:
    mine = [run for run in runs if run.entry == name]
    return mine[max(range(len(mine)), key=lambda i: result.val_accuracy[i])].weights
