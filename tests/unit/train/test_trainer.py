from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from nas_pipeline.data.loaders import SearchData, load_search_data
from nas_pipeline.errors import TrainError
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.trainer import EvaluationRow, Fitted, fit

RECIPE = Recipe(batch_size=32, learning_rate=0.05, precision="fp32", flip=False)
CPU = torch.device("cpu")


def small_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.1), nn.Linear(16, 4),
    )


@pytest.fixture(scope="module")
def data(ingested: Path) -> SearchData:
    return load_search_data(ingested)


def run(data: SearchData, recipe: Recipe = RECIPE, **options: object) -> Fitted:
    settings = {"seed": 0, "device": CPU, "budget": TrainBudget(epochs=3), **options}
    return fit(small_net, data, recipe, **settings)


def equal(left: Fitted, right: Fitted) -> bool:
    return all(torch.equal(left.state[name], right.state[name]) for name in left.state) and [
        {k: v for k, v in row.items() if k != "device_s"} for row in left.history
    ] == [{k: v for k, v in row.items() if k != "device_s"} for row in right.history]


def test_it_learns_well_beyond_chance(data: SearchData) -> None:
    fitted = run(data, budget=TrainBudget(epochs=6))
    assert fitted.val_accuracy > 0.6
    assert fitted.ended == "complete"
    assert fitted.val_accuracy == max(row["val_accuracy"] for row in fitted.history)


def test_the_seed_decides_and_nothing_else(data: SearchData) -> None:
    torch.manual_seed(123)
    first = run(data)
    torch.manual_seed(456)
    same_seed, other_seed = run(data), run(data, seed=1)
    assert equal(first, same_seed)
    assert not equal(first, other_seed)


@pytest.mark.parametrize("ratio", [0.0, 0.6])
def test_a_resumed_training_equals_an_uninterrupted_one(data: SearchData, tmp_path: Path, ratio: float) -> None:
    recipe = replace(RECIPE, infobatch_ratio=ratio, infobatch_until=1.0)
    path = tmp_path / "checkpoint.pt"

    class PowerCut(Exception):
        pass

    def cut_at_second(row: EvaluationRow) -> bool:
        if row["epoch"] > 1.5:
            raise PowerCut
        return True

    with pytest.raises(PowerCut):
        run(data, recipe, checkpoint=path, on_evaluation=cut_at_second, evaluations=7)
    assert equal(run(data, recipe, checkpoint=path, evaluations=7), run(data, recipe, evaluations=7))


def test_sigkill_then_the_same_call_ends_in_the_same_weights(data: SearchData, ingested: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    code = f"""
import os, signal, torch
torch.set_num_threads(1)
from pathlib import Path
from nas_pipeline.data.loaders import load_search_data
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.trainer import fit
from tests.unit.train.test_trainer import CPU, RECIPE, small_net
def kill(row):
    if row["epoch"] >= 2: os.kill(os.getpid(), signal.SIGKILL)
    return True
fit(small_net, load_search_data(Path({str(ingested)!r})), RECIPE, TrainBudget(epochs=3), seed=0, device=CPU,
    checkpoint=Path({str(path)!r}), on_evaluation=kill)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3], env={**os.environ})
    assert done.returncode == -signal.SIGKILL
    resumed: list[float] = []
    fitted = run(data, checkpoint=path, on_evaluation=lambda row: resumed.append(row["epoch"]) or True)
    assert resumed == [3.0]
    assert equal(fitted, run(data))


def test_the_checkpoint_of_another_training_is_not_resumed(data: SearchData, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run(data, checkpoint=path, key="one")
    epochs: list[float] = []
    run(data, checkpoint=path, key="two", on_evaluation=lambda row: epochs.append(row["epoch"]) or True)
    assert epochs == [1.0, 2.0, 3.0]


def test_a_damaged_checkpoint_is_named(data: SearchData, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainError, match=r"checkpoint\.pt cannot be read"):
        run(data, checkpoint=tmp_path / "checkpoint.pt")


def test_the_caller_may_end_it_early(data: SearchData) -> None:
    fitted = run(data, on_evaluation=lambda row: row["epoch"] < 2)
    assert fitted.ended == "stopped"
    assert len(fitted.history) == 2


def test_divergence_is_an_outcome_not_an_exception(data: SearchData) -> None:
    wild = Recipe(batch_size=32, learning_rate=1e30, clip_norm=1e30, warmup=0.0, precision="fp32")
    fitted = fit(small_net, data, wild, TrainBudget(epochs=3), seed=0, device=CPU)
    assert fitted.ended == "diverged"


def test_seconds_buy_a_fixed_number_of_steps(data: SearchData) -> None:
    fitted = run(data, budget=TrainBudget(device_s=1.0), evaluations=3)
    assert len(fitted.history) == 3
    assert fitted.history[-1]["progress"] == 1.0
    assert 0.2 < fitted.device_s < 8


def test_bf16_trains_too(data: SearchData, tmp_path: Path) -> None:
    recipe = Recipe(batch_size=32, learning_rate=0.05, precision="bf16", flip=False)
    fitted = fit(small_net, data, recipe, TrainBudget(epochs=4), seed=0, device=CPU)
    assert fitted.val_accuracy > 0.4
    assert all(tensor.dtype != torch.bfloat16 for tensor in fitted.state.values())


def test_the_faster_precision_is_measured_once_and_remembered(data: SearchData, tmp_path: Path) -> None:
    cache = tmp_path / "precision.json"
    recipe = Recipe(batch_size=32, precision="auto")
    for _ in range(2):
        fit(small_net, data, recipe, TrainBudget(epochs=0.1), seed=0, device=CPU, precision_cache=cache)
        written = cache.stat().st_mtime_ns
    assert cache.stat().st_mtime_ns == written
    assert "dense" in cache.read_text()
