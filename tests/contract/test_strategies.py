"""Every strategy in the catalogue: reproducible, inside the space, and better than chance where it claims to learn."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler

from nas_pipeline.core.files import canonical_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.errors import ConfigError
from nas_pipeline.search import STRATEGIES
from nas_pipeline.search.protocols import GradientSearch
from nas_pipeline.search.trial_chooser import TrialChooser
from nas_pipeline.space import SPACES
from nas_pipeline.space.choosers import DecisionRecorder, replay
from nas_pipeline.train.randomness import seed_of
from tests.toy import DECISIONS, ToySpace

LEARNS = {"random": False, "tpe": True, "nsga2": True, "darts": False, "pc_darts": False, "gdas": False}
"""By its sampler. Differentiable searches learn by themselves; what they are asked for beyond that is random."""

DERIVING = [name for name in STRATEGIES if isinstance(STRATEGIES.make(name), GradientSearch)]


def test_every_strategy_is_under_contract() -> None:
    assert set(LEARNS) == set(STRATEGIES)


def sampler(strategy: str, seed: int, number: int, decision: str = "") -> BaseSampler:
    return STRATEGIES.make(strategy).sampler(seed_of(f"{seed}/{number}/{decision}") % 2**31)


def ask_and_tell(strategy: str, trials: int, seed: int) -> list[float]:
    """Sampler made anew for every trial, as the worker does it: its state is the storage."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0))
    scores = []
    for number in range(trials):
        study.sampler = sampler(strategy, seed, number)
        trial = study.ask()
        answers = ToySpace().decide(TrialChooser(trial, partial(sampler, strategy, seed, number)))
        scores.append(sum(answers) / (3 * DECISIONS))
        trial.set_constraint("latency", -1.0)
        study.tell(trial, [scores[-1], 0.5])
    return scores


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_seeds_propose_equal_candidates(strategy: str) -> None:
    assert ask_and_tell(strategy, 24, seed=1) == ask_and_tell(strategy, 24, seed=1)
    assert ask_and_tell(strategy, 24, seed=1) != ask_and_tell(strategy, 24, seed=2)


@pytest.mark.parametrize("strategy", [name for name, learns in LEARNS.items() if learns])
def test_it_learns(strategy: str) -> None:
    scores = ask_and_tell(strategy, 150, seed=0)
    late = sum(scores[100:]) / 50
    assert late > 0.68  # 50 means of random answers have mean 0.5 and standard deviation 0.02


def test_random_does_not_learn() -> None:
    scores = ask_and_tell("random", 150, seed=0)
    assert 0.44 < sum(scores[100:]) / 50 < 0.56


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_trial_replays_its_decisions(strategy: str) -> None:
    study = optuna.create_study(sampler=sampler(strategy, 0, 0))
    trial = study.ask()
    first, again = (DecisionRecorder(TrialChooser(trial, partial(sampler, strategy, seed, 0))) for seed in (0, 1))
    ToySpace().decide(first)
    ToySpace().decide(again)
    assert Genotype("toy", 1, tuple(first.genes)) == Genotype("toy", 1, tuple(again.genes))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_trial_that_was_left_between_two_decisions_is_finished_as_an_undisturbed_one(strategy: str) -> None:
    whole, left = (optuna.create_study(sampler=sampler(strategy, 0, 0)).ask() for _ in range(2))
    decided = [ToySpace().decide(TrialChooser(whole, partial(sampler, strategy, 0, 0)))]
    for decision in range(4):
        TrialChooser(left, partial(sampler, strategy, 0, 0)).one_of(f"d{decision}", (0, 1, 2, 3))
    decided.append(ToySpace().decide(TrialChooser(left, partial(sampler, strategy, 0, 0))))
    assert decided[0] == decided[1]


SMALL = {"width": 4, "cells": 3, "nodes": 1, "ops": ["none", "skip_connect", "nor_conv_3x3"], "epochs": 1,
         "batch_size": 16, "images": 64, "eval_cells": 3, "eval_width": 4, "eigenvalue_every": 0, "skip_cap": None}


def test_the_searches_that_derive_are_known() -> None:
    assert DERIVING == ["darts", "pc_darts", "gdas"]


@pytest.mark.parametrize("strategy", DERIVING)
def test_a_deriving_strategy_is_its_options_in_a_study_and_whole_in_a_worker(strategy: str, ingested: Path) -> None:
    made = STRATEGIES.make(strategy, {"seeds": 2}, data=ingested, device="cpu")
    assert canonical_json(vars(made)) == canonical_json(vars(STRATEGIES.make(strategy, {"seeds": 2})))
    assert pickle.loads(pickle.dumps(made)) == made
    assert isinstance(made, GradientSearch)
    assert made.seeds == 2


@pytest.mark.parametrize("strategy", DERIVING)
def test_equal_seeds_derive_equal_genotypes_in_another_process_too(
    strategy: str, ingested: Path, tmp_path: Path
) -> None:
    made = STRATEGIES.make(strategy, SMALL, data=ingested, device="cpu")
    assert isinstance(made, GradientSearch)
    copied = pickle.loads(pickle.dumps(made))
    first, again = made.derive(3, tmp_path / "a"), copied.derive(3, tmp_path / "b")
    assert first.genotype == again.genotype
    assert first.device_s > 0
    assert [row["epoch"] for row in first.rows] == [0]
    replay(SPACES.make("cell"), first.genotype)


@pytest.mark.parametrize("strategy", DERIVING)
def test_a_deriving_strategy_without_data_says_so(strategy: str, tmp_path: Path) -> None:
    made = STRATEGIES.make(strategy)
    assert isinstance(made, GradientSearch)
    with pytest.raises(ConfigError, match="hand in `data`"):
        made.derive(0, tmp_path)


@pytest.mark.parametrize(("strategy", "options"), [
    ("pc_darts", {"partial": 3}), ("gdas", {"last_temperature": 0.0}), ("darts", {"epoch": 3}), ("darts", {"nodes": 0}),
])
def test_options_out_of_range_are_refused_when_it_is_made(strategy: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        STRATEGIES.make(strategy, options)
