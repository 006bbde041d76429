"""Retraining: nothing is trained twice, the test split is read once per call, a worker that ended is named."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.data.loaders import Split, load_manifest, normalise
from nas_pipeline.data.test_split import count_reads
from nas_pipeline.errors import SpaceError, TrainError
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.retrain import Retrained, RetrainJob, ScoreFiles, load_trained_network, retrain

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[3]
RECIPE = Recipe(batch_size=64, learning_rate=0.05, precision="fp32", flip=False)


def tiny(width: int) -> Genotype:
    """A residual network of a few thousand parameters."""
    stages = [
        gene for number, channels in ((1, 16), (2, width))
        for gene in ((f"stage{number}.width", channels), (f"stage{number}.transition", "stride"),
                     (f"stage{number}.blocks", 0))
    ]
    return Genotype("residual", 1, (("stem.width", 16), ("stem.stride", 2), ("stages", 2), *stages, ("pooling", "avg")))


JOBS = [RetrainJob("winner", tiny(24), (0, 1)), RetrainJob("by_hand", tiny(32), (0,))]
LABELS = ["winner/seed-0", "winner/seed-1", "by_hand/seed-0"]


def top1(data: Path) -> ScoreFiles:
    manifest = load_manifest(data)

    def score(net: nn.Module, test: Split, ships: bool) -> dict[str, Any]:
        with torch.no_grad():
            predicted = net(torch.from_numpy(normalise(test.images, manifest))).argmax(1).numpy()
        return {"accuracy": float((predicted == test.labels).mean()), "ships": ships}

    return score


def run(data: Path, folder: Path, jobs: list[RetrainJob] = JOBS, **options: Any) -> Retrained:
    settings: dict[str, Any] = {"workers": 1, "device": "cpu", "score_files": top1(data), **options}
    return retrain(jobs, data, RECIPE, TrainBudget(epochs=1.0), folder=folder / "retrain",
                   ledger=folder / "test_reads.jsonl", **settings)


def trainings(folder: Path) -> dict[str, int]:
    """Finished trainings and when they were written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("retrain/*/fitted.json")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retrain")


@pytest.fixture(scope="module")
def shares() -> list[tuple[float, float]]:
    """(done, in all) of every report on progress of the first call."""
    return []


@pytest.fixture(scope="module")
def first(ingested: Path, folder: Path, shares: list[tuple[float, float]]) -> Retrained:
    return run(ingested, folder, workers=2, progress=lambda done, total, left, line: shares.append((done, total)))


def test_each_job_has_an_accuracy_per_seed(first: Retrained) -> None:
    assert {name: result.seeds for name, result in first.results.items()} == {"winner": (0, 1), "by_hand": (0,)}
    for result in first.results.values():
        figures = (*result.val_accuracy, *result.test_accuracy)
        assert len(figures) == 2 * len(result.seeds)
        assert all(0 < figure <= 1 for figure in figures)
    assert first.results["by_hand"].params > first.results["winner"].params


def test_every_run_has_its_curve(first: Retrained) -> None:
    assert list(first.history) == LABELS
    assert all(curve[-1]["progress"] == 1.0 for curve in first.history.values())


def test_the_files_of_the_first_job_are_scored_as_they_will_ship(first: Retrained) -> None:
    assert list(first.files) == LABELS[:2]
    for scored, measured in zip(first.files.values(), first.results["winner"].test_accuracy, strict=True):
        assert scored["accuracy"] == pytest.approx(measured)
    best = int(np.argmax(first.results["winner"].val_accuracy))
    assert [scored["ships"] for scored in first.files.values()] == [seed == best for seed in range(2)]


def test_the_weights_are_those_of_the_best_seed_by_validation(first: Retrained, ingested: Path, folder: Path) -> None:
    """A retraining with that seed alone has the same weights file."""
    result = first.results["winner"]
    best = result.seeds[int(np.argmax(result.val_accuracy))]
    alone = run(ingested, folder, [replace(JOBS[0], seeds=(best,))])
    assert first.weights["winner"] == alone.weights["winner"]
    assert result.val_accuracy[0] != result.val_accuracy[1], "the seeds have to differ for this test to mean something"


def test_the_trained_network_is_loaded_from_its_weights(first: Retrained, ingested: Path) -> None:
    net = load_trained_network(JOBS[0].genotype, load_manifest(ingested), first.weights["winner"], RECIPE)
    assert not net.training
    weights = load_file(first.weights["winner"])
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_a_second_call_trains_nothing_and_returns_the_same(first: Retrained, ingested: Path, folder: Path) -> None:
    before = trainings(folder)
    again = run(ingested, folder)
    assert trainings(folder) == before
    assert len(before) == len(LABELS)
    assert (again.results, again.history, again.weights) == (first.results, first.history, first.weights)


def test_equal_networks_are_trained_once(first: Retrained, ingested: Path, folder: Path) -> None:
    before = trainings(folder)
    duplicates = run(ingested, folder, [*JOBS, RetrainJob("duplicate", JOBS[0].genotype, (0, 1))])
    assert trainings(folder) == before
    assert duplicates.results["duplicate"] == first.results["winner"]


def test_each_call_reads_the_test_split_once(first: Retrained, ingested: Path, folder: Path) -> None:
    digest, ledger = load_manifest(ingested).digest, folder / "test_reads.jsonl"
    before = count_reads(ledger, digest)
    run(ingested, folder)
    assert count_reads(ledger, digest) == before + 1


def test_progress_only_grows_and_ends_at_the_whole(first: Retrained, shares: list[tuple[float, float]]) -> None:
    assert shares == sorted(shares)
    assert shares[-1] == (len(LABELS), len(LABELS))


def test_a_worker_that_ends_is_named_and_the_test_split_is_not_read(ingested: Path, tmp_path: Path) -> None:
    def kill(*_: object) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(TrainError, match=r"winner/seed-0 ended unexpectedly \(exit code -9\).*the same command again"):
        run(ingested, tmp_path, JOBS, progress=kill)
    assert not (tmp_path / "test_reads.jsonl").exists()
    assert multiprocessing.active_children() == []


def test_a_training_that_diverged_is_an_error_and_leaves_no_result(ingested: Path, tmp_path: Path) -> None:
    wild = replace(RECIPE, learning_rate=1e30, warmup=0.0, clip_norm=1e30)
    with pytest.raises(TrainError, match=r"winner/seed-0 diverged; lower train\.recipe\.learning_rate"):
        retrain([RetrainJob("winner", tiny(24), (0,))], ingested, wild, TrainBudget(epochs=1.0), workers=1,
                device="cpu", folder=tmp_path, ledger=tmp_path / "reads.jsonl", score_files=top1(ingested))
    assert list(tmp_path.glob("*/fitted.json")) == []
    assert not (tmp_path / "reads.jsonl").exists()


def test_sigkill_then_the_same_call_equals_an_uninterrupted_one(
    first: Retrained, ingested: Path, tmp_path: Path
) -> None:
    """The process that retrains kills itself when its first training is done and its second has begun."""
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys\nfrom pathlib import Path\nfrom tests.unit.train.test_retrain import run, trainings\n"
        "folder = Path(sys.argv[2])\n"
        "def die(*_):\n"
        "    if trainings(folder) and len(list(folder.glob('retrain/*'))) > 1:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    run(Path(sys.argv[1]), folder, progress=die)\n"
    )
    done = subprocess.run([sys.executable, str(script), str(ingested), str(tmp_path)], check=False,
                          env={**os.environ, "PYTHONPATH": str(REPO)})
    assert done.returncode == -signal.SIGKILL
    before = trainings(tmp_path)
    assert 1 <= len(before) < len(LABELS)
    assert not (tmp_path / "test_reads.jsonl").exists()
    resumed = run(ingested, tmp_path, workers=2)
    after = trainings(tmp_path)
    assert {name: after[name] for name in before} == before, "what was finished is not trained again"
    assert len(after) == len(LABELS)
    assert essence(resumed) == essence(first)
    assert count_reads(tmp_path / "test_reads.jsonl", load_manifest(ingested).digest) == 1


def essence(outcome: Retrained) -> tuple[Any, ...]:
    """Everything except the measured seconds."""
    results = {name: replace(result, device_s=()) for name, result in outcome.results.items()}
    curves = {name: [{k: v for k, v in row.items() if k != "device_s"} for row in curve]
              for name, curve in outcome.history.items()}
    weights = {name: {k: v.tolist() for k, v in load_file(path).items()} for name, path in outcome.weights.items()}
    return results, curves, weights, outcome.files


def test_an_error_in_a_worker_reaches_the_caller_with_its_type(ingested: Path, tmp_path: Path) -> None:
    of_another_version = RetrainJob("winner", Genotype("residual", 99, ()), (0,))
    with pytest.raises(SpaceError, match=r"the training winner/seed-0 cannot continue: .*version"):
        run(ingested, tmp_path, [of_another_version])
    assert not list(tmp_path.glob("retrain/*/error.json")), "the next attempt starts without it"
