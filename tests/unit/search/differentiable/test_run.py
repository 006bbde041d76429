"""The search as a whole: repeatable, resumable after a kill, with an explanation of each error."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError, DataError, SearchError, SearchRefusal, TrainError
from nas_pipeline.search.differentiable.bilevel_split import BilevelSplit
from nas_pipeline.search.differentiable.run import DifferentiableSearch, _Run
from nas_pipeline.search.differentiable.settings import Settings
from nas_pipeline.search.differentiable.variants import Variant
from nas_pipeline.search.protocols import Derived
from nas_pipeline.space.load import build_network
from nas_pipeline.train.recipe import Recipe
from tests.unit.search.differentiable.toy_images import shades

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "width": 4, "cells": 3, "nodes": 2, "ops": ("none", "skip_connect", "sep_conv_3x3"), "epochs": 4,
    "batch_size": 16, "eval_cells": 3, "eval_width": 4, "eigenvalue_every": 2, "alpha_learning_rate": 0.05,
    "warmup": 0.25, "stop_skips": None,
}
DARTS, GDAS = Variant("darts"), Variant("gdas", first_temperature=5.0, last_temperature=0.5)
PC_DARTS = Variant("pc_darts", partial=2)


def run(folder: Path, variant: Variant = DARTS, seed: int = 0, **options: Any) -> Derived:
    deploy = options.pop("deploy", None)
    settings = Settings(**{**SMALL, **options})
    return DifferentiableSearch(settings, variant).run(shades(64, 0), seed, folder, device=CPU, deploy=deploy)


def without_times(derived: Derived) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "device_s"} for row in derived.rows]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Derived:
    return run(tmp_path_factory.mktemp("uninterrupted"))


def test_it_derives_a_member_of_the_cell_space(uninterrupted: Derived) -> None:
    genotype = uninterrupted.genotype
    assert (genotype.space, genotype.as_dict()["width"], genotype.as_dict()["cells"]) == ("cell", 4, 3)
    assert "none" not in genotype.as_dict().values()
    net = build_network(genotype, InputSpec(1, 8, 8, 2))
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 2)
    assert uninterrupted.device_s > 0


def test_rows_hold_the_measures_of_the_guards(uninterrupted: Derived) -> None:
    rows = uninterrupted.rows
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert [row["eigenvalue"] is None for row in rows] == [True, False, True, False]
    assert [row["stable_epochs"] <= row["epoch"] for row in rows] == [True] * 4
    assert [row["alpha_loss"] is None for row in rows] == [True, False, False, False]
    assert rows[0]["entropy_normal"] == pytest.approx(1.0, abs=1e-5)
    assert rows[-1]["entropy_normal"] < rows[0]["entropy_normal"]
    assert rows[-1]["genotype_id"] == uninterrupted.genotype.id
    assert uninterrupted.decisions[-1]["action"] == f"derived {uninterrupted.genotype.id}"
    json.dumps(rows, allow_nan=False)


def test_equal_seeds_give_equal_searches_and_other_seeds_others(uninterrupted: Derived, tmp_path: Path) -> None:
    assert without_times(run(tmp_path)) == without_times(uninterrupted)
    assert without_times(run(tmp_path, seed=1)) != without_times(uninterrupted)


def test_an_ended_search_returns_its_stored_result(tmp_path: Path) -> None:
    first = run(tmp_path, epochs=1)
    assert not list(tmp_path.rglob("epoch-*.pt"))
    assert run(tmp_path, epochs=1) == first


KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from tests.unit.search.differentiable import test_run
folder = Path(sys.argv[1])
def kill():
    while not any(folder.rglob("epoch-0002.pt")):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
test_run.run(folder, epochs=4)
"""


def test_a_killed_search_equals_an_uninterrupted_one(uninterrupted: Derived, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env={**os.environ, "OMP_NUM_THREADS": "1"},
                           cwd=Path(__file__).parents[4], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not list(tmp_path.rglob("derived.json"))
    assert without_times(run(tmp_path)) == without_times(uninterrupted)


class Interrupt(logging.Filter):
    """Interrupts the search when it logs its first epoch, after the state was saved."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("epoch 1 of"):
            raise KeyboardInterrupt
        return True


@pytest.mark.parametrize("variant", [DARTS, PC_DARTS, GDAS], ids=["darts", "pc_darts", "gdas"])
@pytest.mark.parametrize("order", ["first", "second"])
def test_every_search_resumes_where_it_stopped(
    variant: Variant, order: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"epochs": 2, "warmup": 0.0, "eigenvalue_every": 0, "order": order}
    whole = run(tmp_path / "whole", variant, **options)
    logger, interrupt = logging.getLogger("nas_pipeline.search.differentiable.run"), Interrupt()
    caplog.set_level(logging.INFO, logger.name)
    logger.addFilter(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", variant, **options)
    logger.removeFilter(interrupt)
    assert without_times(run(tmp_path / "parts", variant, **options)) == without_times(whole)
    assert ("temperature" in whole.rows[0]) == (variant is GDAS)
    assert bool(whole.rows[0]["betas"]) == (variant is PC_DARTS)


def started(tmp_path: Path, **options: Any) -> _Run:
    search = DifferentiableSearch(Settings(**{**SMALL, "epochs": 2, "eigenvalue_every": 0, **options}), DARTS)
    return _Run(search, shades(64, 0), 0, tmp_path, CPU, Recipe(), None)


def test_an_epoch_with_a_loss_that_is_no_number_is_rolled_back_and_reported(tmp_path: Path) -> None:
    search = started(tmp_path)
    with torch.no_grad():
        search.bilevel.net.classifier.weight.fill_(torch.nan)
    derived = search.complete()
    assert [row["epoch"] for row in derived.rows] == [0, 1]
    assert derived.decisions[0] == {"epoch": 0, "guard": "loss", "action": "rolled back; the epoch is run again",
                                    "why": "a loss in epoch 0 is not a finite number"}


def test_a_third_failed_epoch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="2 epochs have been rolled back already; lower learning_rate"):
        run(tmp_path, learning_rate=1e30, clip_norm=1e30)


def test_out_of_memory_names_the_options_to_lower(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"does not fit into memory .*lower batch_size \(now 16\), then width"):
        run(tmp_path, width=4_000_000)


def test_a_bound_is_satisfied_and_an_impossible_one_refused_before_the_first_epoch(tmp_path: Path) -> None:
    free = run(tmp_path / "free", epochs=1, penalties={"params": 0.1})
    bound = free.rows[0]["params"] - 1
    bounded = run(tmp_path / "bounded", epochs=1, bounds={"params": bound}, skip_cap=None)
    net = build_network(bounded.genotype, InputSpec(1, 8, 8, 2))
    assert sum(p.numel() for p in net.parameters()) <= bound
    with pytest.raises(SearchRefusal, match=r"params .* where 100 is allowed"):
        run(tmp_path / "refused", bounds={"params": 100})
    assert not list((tmp_path / "refused").rglob("epoch-0001.pt"))


def test_params_of_a_row_are_those_of_the_derived_network(tmp_path: Path) -> None:
    derived = run(tmp_path, epochs=1, penalties={"params": 0.1}, skip_cap=None, eval_cells=5)
    net = build_network(derived.genotype, InputSpec(1, 8, 8, 2))
    assert derived.rows[-1]["params"] == sum(p.numel() for p in net.parameters())


def test_a_latency_is_measured_once_and_needs_deploy(tmp_path: Path) -> None:
    measured: list[int] = []

    def deploy(net: torch.nn.Module, spec: InputSpec) -> dict[str, float]:
        measured.append(1)
        return {"latency_ms": 0.1 + 0.01 * sum(p.numel() for p in net.parameters())}

    options = {"epochs": 1, "penalties": {"latency_ms": 1.0}}
    first = run(tmp_path, deploy=deploy, **options)
    assert first.rows[0]["latency_ms"] > 0
    count = len(measured)
    next(tmp_path.rglob("derived.json")).unlink()
    assert without_times(run(tmp_path, deploy=deploy, **options)) == without_times(first)
    assert len(measured) == count
    with pytest.raises(ConfigError, match="pass `deploy`"):
        run(tmp_path / "none", **options)


def test_selection_by_perturbation(tmp_path: Path) -> None:
    options = {"epochs": 1, "derivation": "perturbation", "skip_cap": None, "tune_steps": 1, "nodes": 1}
    assert run(tmp_path / "a", **options).genotype == run(tmp_path / "b", **options).genotype


def test_a_damaged_state_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    search = started(tmp_path)
    next(tmp_path.glob("epoch-*.pt")).write_bytes(b"half")
    with pytest.raises(SearchError, match=r"epoch-0000\.pt cannot be read"):
        search.files.last()


def test_the_halves_are_disjoint_and_depend_on_seed_and_epoch_alone() -> None:
    data = shades(50, 0)
    data.train.images[:] = np.arange(50, dtype=np.uint8)[:, None, None, None]

    def shown(seed: int, epoch: int, images: int | None = None) -> list[tuple[set[float], set[float]]]:
        split = BilevelSplit(data, Recipe(flip=False, shift=0), seed, CPU, images=images, batch_size=5)
        return [({float(x) for x in a[0][:, 0, 0, 0]}, {float(x) for x in b[0][:, 0, 0, 0]})
                for a, b in split.epoch(epoch)]

    weights, alphas = (set().union(*(pair[side] for pair in shown(0, 0))) for side in (0, 1))
    assert (len(weights), len(alphas), len(weights & alphas)) == (25, 25, 0)
    assert shown(0, 3) == shown(0, 3)
    assert shown(0, 3) != shown(0, 4)
    assert shown(0, 3) != shown(1, 3)
    assert len(shown(0, 0, images=20)) == 2
    with pytest.raises(DataError, match="at least 4"):
        BilevelSplit(shades(3, 0), Recipe(), 0, CPU, images=None, batch_size=2)


def test_every_attempt_at_every_epoch_has_an_order_of_its_own() -> None:
    split = BilevelSplit(shades(64, 0), Recipe(), 0, CPU, images=None, batch_size=4)

    def order(epoch: int, attempt: int) -> tuple[int, ...]:
        return tuple(int(value) for (_, labels), (_, held_out) in split.epoch(epoch, attempt)
                     for value in (*labels, *held_out))

    pairs = [(epoch, attempt) for epoch in (0, 1, 1000, 1001, 2000) for attempt in (0, 1, 2)]
    assert len({order(*pair) for pair in pairs}) == len(pairs)
    assert order(3, 0) == tuple(int(value) for (_, labels), (_, held_out) in split.epoch(3)
                                for value in (*labels, *held_out))


def test_the_order_of_a_first_attempt_is_fixed() -> None:
    split = BilevelSplit(shades(32, 0), Recipe(), 0, CPU, images=None, batch_size=16)
    (_, labels), (_, held_out) = next(split.epoch(1))
    assert labels.tolist() == [1, 0, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 0]
    assert held_out.tolist() == [1, 0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("wrong", [
    {"ops": ("none",)}, {"ops": ("skip_connect", "skip_connect")}, {"ops": ("skip_connect", "sep_conv_9x9")},
    {"epochs": 0}, {"order": "third"}, {"bounds": {"watts": 1.0}}, {"bounds": {"params": 0.0}}, {"eval_cells": 2},
    {"derivation": "perturbation"}, {"warmup": 1.0}, {"least_learning_rate": 1.0},
])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Settings(**wrong)
