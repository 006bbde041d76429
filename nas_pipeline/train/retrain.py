"""Full training of the winner with several seeds, and of hand-designed networks with the same budget.

The epoch of each training is chosen on the validation split. The test split is read once, after all choices are made.
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
from nas_pipeline.train.batches import Batches, accuracy
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.calibration import calibrate
from nas_pipeline.train.device import on_device, pick_device
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.test_time_augmentation import with_test_time_augmentation
from nas_pipeline.train.trainer import EvaluationRow, fit
from nas_pipeline.train.workers import Worker, start_worker, stop_workers

logger = logging.getLogger(__name__)

_POLL_S = 0.3


@dataclass(frozen=True, slots=True)
class RetrainJob:
    """One architecture to train with several seeds. `name` is shown to the user: `winner`, `dense_residual`, ..."""

    name: str
    genotype: Genotype
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Retrained:
    """The outcome of `retrain`."""

    results: dict[str, TrainResult]
    """By name of the job."""
    history: dict[str, list[EvaluationRow]]
    """Learning curve of every training, by `NAME/seed-N`."""
    weights: dict[str, Path]
    """By name of the job, the safetensors file of the seed with the best validation accuracy."""
    files: dict[str, dict[str, Any]]
    """By `NAME/seed-N`, for the first job: the result of `score_files`."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One training: a job with one seed. `folder` holds its checkpoint, then its result."""

    job: str
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
        return f"{self.job}/seed-{self.seed}"

    @property
    def done(self) -> Path:
        return self.folder / "fitted.json"

    @property
    def weights(self) -> Path:
        return self.folder / "fitted.safetensors"


RetrainProgress = Callable[[float, float, float | None, str], None]
"""(trainings done, trainings in total, seconds left or None, line of text) -> None. Fractions count."""

ScoreFiles = Callable[[nn.Module, Split, bool], dict[str, Any]]
"""(network with test-time augmentation, test split, whether its seed ships) -> measures of its exported files."""


def retrain(
    jobs: Sequence[RetrainJob],
    data: Path,
    recipe: Recipe,
    budget: TrainBudget,
    *,
    workers: int,
    device: str,
    folder: Path,
    ledger: Path,
    score_files: ScoreFiles,
    progress: RetrainProgress = lambda *_: None,
) -> Retrained:
    """Trains all jobs, then measures all of them on the test split in one read.

    A call that was interrupted is resumed by the same call; a training is not run twice.

    Args:
        jobs: Architectures and seeds; all get the same recipe and budget.
        data: Folder of the ingested data.
        recipe: Training settings.
        budget: Of each training.
        workers: Processes that train at the same time.
        device: `auto`, `cpu`, `cuda`.
        folder: Working state; each training has a sub-folder named by the hash of its inputs.
        ledger: File that records the reads of the test split.
        score_files: Called for each seed of the first job, with the test split. Export and quantisation change a
            network, so the files that may ship are measured themselves.
        progress: Called while the trainings advance.

    Raises:
        TrainError: A training diverged or its process ended unexpectedly.
    """
    manifest = load_search_data(data).manifest
    runs = [_run_of(job, seed, data, manifest, recipe, budget, device, folder)
            for job in jobs for seed in job.seeds]
    _train_all(runs, workers, progress)
    test = read_test(data, ledger)
    results = {job.name: _result(job, [run for run in runs if run.job == job.name], manifest, recipe, test)
               for job in jobs}
    history = {run.label: read_json(run.done)["history"] for run in runs}
    weights = {name: _best(result, runs, name) for name, result in results.items()}
    return Retrained(results, history, weights, _files(runs, manifest, recipe, test, score_files, weights))


def _run_of(
    job: RetrainJob, seed: int, data: Path, manifest: DatasetManifest, recipe: Recipe, budget: TrainBudget, device: str,
    folder: Path,
) -> _Run:
    key = sha256_text(canonical_json(
        [job.genotype.to_json(), seed, manifest.digest, recipe.to_json(), budget.epochs, budget.device_s, device]
    ))[:16]
    return _Run(job.name, job.genotype, seed, data, recipe, budget, device, folder / key,
                folder / "precision.json")


def _train_all(runs: Sequence[_Run], workers: int, progress: RetrainProgress) -> None:
    distinct = list({run.folder: run for run in reversed(runs)}.values())[::-1]  # equal networks are trained once
    waiting = [run for run in distinct if not run.done.exists()]
    if len(waiting) < len(distinct):
        logger.info("resuming: %d of %d trainings are done", len(distinct) - len(waiting), len(distinct))
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
    """Trains and calibrates one network, in a worker process, and writes its files."""
    spec = (data := load_search_data(run.data)).manifest.spec
    run.folder.mkdir(parents=True, exist_ok=True)

    def write_progress(row: EvaluationRow) -> bool:
        write_json(run.folder / "progress.json", row)
        return True

    fitted = fit(
        lambda: build_network(run.genotype, spec), data, run.recipe, run.budget, seed=run.seed,
        device=pick_device(run.device), checkpoint=run.folder / "checkpoint.pt", precision_cache=run.precision_cache,
        on_evaluation=write_progress, key=run.genotype.id,
    )
    net = build_network(run.genotype, spec)
    net.load_state_dict(fitted.state)
    val = Batches(data.val, data.manifest.mean, data.manifest.std, torch.device("cpu"))
    divisor = calibrate(net, with_test_time_augmentation(net, run.recipe), val)
    with atomic_path(run.weights) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, temporary)
    write_json(run.done, {"ended": fitted.ended, "epoch": fitted.epoch, "device_s": fitted.device_s,
                          "temperature": divisor, "history": fitted.history})
    (run.folder / "checkpoint.pt").unlink(missing_ok=True)


def _check(run: _Run, worker: Worker) -> None:
    if error := worker.error():
        raise type(error)(f"the training {run.label} cannot continue: {error}")
    if worker.exitcode != 0 or not run.done.exists():
        raise TrainError(f"the process of the training {run.label} ended unexpectedly (exit code {worker.exitcode}); "
                         "run the same command again, it resumes from the last checkpoint")
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
        file = run.folder / "progress.json"
        shares.append(1.0 if run.done.exists() else float(read_json(file)["progress"]) if file.exists() else 0.0)
    return sum(shares) / len(shares)


def _result(
    job: RetrainJob, runs: Sequence[_Run], manifest: DatasetManifest, recipe: Recipe, test: Split
) -> TrainResult:
    device = pick_device(runs[0].device)
    val = Batches(load_search_data(runs[0].data).val, manifest.mean, manifest.std, device)
    test_batches = Batches(test, manifest.mean, manifest.std, device)
    net = build_network(job.genotype, manifest.spec)
    counted = cost(net.eval(), manifest.spec)
    measured: list[dict[str, Any]] = []
    for run in runs:
        net.load_state_dict(load_file(run.weights))
        on_device(net, device)
        outcome = read_json(run.done)
        deployed = with_test_time_augmentation(net, recipe)  # in fp32, as it is exported
        measured.append({"val": accuracy(deployed, val), "test": accuracy(deployed, test_batches), **outcome})
    return TrainResult(
        genotype=job.genotype, dataset_digest=manifest.digest, recipe=recipe.to_json(), seeds=job.seeds,
        val_accuracy=tuple(m["val"] for m in measured), test_accuracy=tuple(m["test"] for m in measured),
        epochs=tuple(m["epoch"] for m in measured), device_s=tuple(m["device_s"] for m in measured),
        params=counted.params, macs=counted.macs,
    )


def _files(
    runs: Sequence[_Run], manifest: DatasetManifest, recipe: Recipe, test: Split, score: ScoreFiles,
    weights: dict[str, Path],
) -> dict[str, dict[str, Any]]:
    """Scores the files of the first job; its seed with the best validation accuracy is the one that ships."""
    first = runs[0].job
    return {
        run.label: score(
            load_trained_network(run.genotype, manifest, run.weights, recipe), test, run.weights == weights[first]
        )
        for run in runs if run.job == first
    }


def load_trained_network(genotype: Genotype, manifest: DatasetManifest, weights: Path, recipe: Recipe) -> nn.Module:
    """Returns the trained network with test-time augmentation: on the CPU, in fp32, in evaluation mode.

    Args:
        genotype: Of the network.
        manifest: Of the data set: shape of the images and number of classes.
        weights: The safetensors file that `retrain` wrote.
        recipe: Its `views` is used.
    """
    net = build_network(genotype, manifest.spec)
    net.load_state_dict(load_file(weights))
    return with_test_time_augmentation(net, recipe).eval()


def _best(result: TrainResult, runs: Sequence[_Run], name: str) -> Path:
    of_job = [run for run in runs if run.job == name]
    return of_job[max(range(len(of_job)), key=lambda i: result.val_accuracy[i])].weights
