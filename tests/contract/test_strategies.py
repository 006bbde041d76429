"""Every strategy in the catalogue: reproducible, inside the space, and better than chance where it claims to learn."""

from __future__ import annotations

from functools import partial

import optuna
import pytest
from optuna.samplers import BaseSampler

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.search import STRATEGIES
from nas_pipeline.search.trial_chooser import TrialChooser
from nas_pipeline.space.choosers import Recorder
from nas_pipeline.train.randomness import seed_of
from tests.toy import DECISIONS, ToySpace

LEARNS = {"random": False, "tpe": True, "nsga2": True}


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
    first, again = (Recorder(TrialChooser(trial, partial(sampler, strategy, seed, 0))) for seed in (0, 1))
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
