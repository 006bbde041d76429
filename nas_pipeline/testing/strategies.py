"""The contract of samplers and proposers: reproducible, inside the space, able to continue a trial."""

from __future__ import annotations

import optuna
import pytest

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.search.decisions import decide_new_trial, past_trials, study_sampler, trial_seed
from nas_pipeline.search.objectives import Goal
from nas_pipeline.search.optuna_internals import live_trial
from nas_pipeline.search.protocols import Proposer, SamplerStrategy, Strategy
from nas_pipeline.space.choosers import replay
from nas_pipeline.testing.keys import check_key
from nas_pipeline.testing.toy import ToySpace, toy_score

DIRECTIONS: tuple[Goal, ...] = ("maximize", "minimize")
_LEARNED = 0.68
"""The mean of 50 random candidates is 0.5 with a standard deviation of 0.02."""


def new_study() -> optuna.Study:
    """Returns an empty study in memory with two objectives."""
    return optuna.create_study(directions=list(DIRECTIONS), sampler=optuna.samplers.RandomSampler(seed=0))


def ask(strategy: Strategy, study: optuna.Study, seed: int) -> optuna.trial.Trial:
    """Creates a trial of the toy space as a worker does it, with all its decisions."""
    number = len(study.get_trials(deepcopy=False))
    study.sampler = study_sampler(strategy, seed, number)
    trial = study.ask()
    decide_new_trial(strategy, ToySpace(), trial, DIRECTIONS, seed, number)
    return trial


def tell(study: optuna.Study, trial: optuna.trial.Trial) -> float:
    """Scores a trial of the toy space; returns the score, the first of its two objectives."""
    score = toy_score(replay(ToySpace(), Genotype.from_json(trial.user_attrs["genotype"])))
    trial.set_user_attr("metrics", {"val_accuracy": score, "latency_ms": 0.5})
    trial.set_constraint("latency_ms", -1.0)
    study.tell(trial, [score, 0.5])
    return score


def propose_and_score(strategy: Strategy, trials: int, seed: int) -> list[float]:
    """Returns the scores of a search in the toy space, in this process."""
    study = new_study()
    return [tell(study, ask(strategy, study, seed)) for _ in range(trials)]


class StrategyContract:
    """Subclasses override the fixture `strategy`."""

    @pytest.fixture
    def strategy(self) -> Strategy:
        """The strategy under test, with options with which it learns within 150 trials."""
        raise NotImplementedError("override the fixture `strategy`")

    def test_key_names_the_strategy(self, strategy: Strategy) -> None:
        """The key is plain data with name and version, also in another process."""
        assert isinstance(strategy, SamplerStrategy | Proposer)
        check_key(strategy)

    def test_equal_seeds_propose_equal_candidates(self, strategy: Strategy) -> None:
        """Proposals depend on the seed and on nothing else."""
        assert propose_and_score(strategy, 24, seed=1) == propose_and_score(strategy, 24, seed=1)
        assert propose_and_score(strategy, 24, seed=1) != propose_and_score(strategy, 24, seed=2)

    def test_proposals_are_members_of_the_space(self, strategy: Strategy) -> None:
        """Every proposal can be replayed, whatever the history."""
        study = new_study()
        for _ in range(30):
            trial = ask(strategy, study, seed=0)
            replay(ToySpace(), Genotype.from_json(trial.user_attrs["genotype"]))
            tell(study, trial)

    def test_it_learns(self, strategy: Strategy) -> None:
        """Late proposals are better than random ones, unless the strategy has `learns = False`."""
        if not getattr(strategy, "learns", True):
            pytest.skip("the strategy declares learns = False")
        assert sum(propose_and_score(strategy, 150, seed=0)[100:]) / 50 > _LEARNED

    def test_a_trial_replays_its_decisions(self, strategy: Strategy) -> None:
        """A continued trial keeps the decisions that are stored, even with another seed."""
        study = new_study()
        trial = ask(strategy, study, seed=0)
        before = trial.user_attrs["genotype"]
        decide_new_trial(strategy, ToySpace(), live_trial(study, trial.number), DIRECTIONS, 1, 0)
        assert study.trials[0].user_attrs["genotype"] == before

    def test_an_interrupted_trial_is_continued_as_an_undisturbed_one(self, strategy: Strategy) -> None:
        """A worker that dies between two decisions, or before the first one, changes no proposal."""
        for stored in (0, 4):
            whole, interrupted = new_study(), new_study()
            for study in (whole, interrupted):
                for _ in range(25):
                    tell(study, ask(strategy, study, seed=0))
            expected = ask(strategy, whole, seed=0).params
            interrupted.sampler = study_sampler(strategy, 0, 25)
            trial = interrupted.ask()
            for name in [f"d{number}" for number in range(stored)]:
                if isinstance(strategy, SamplerStrategy):
                    interrupted.sampler = strategy.sampler(trial_seed(0, 25, name))
                    trial.suggest_categorical(name, [0, 1, 2, 3])
            interrupted.sampler = study_sampler(strategy, 0, 25)
            decide_new_trial(strategy, ToySpace(), live_trial(interrupted, 25), DIRECTIONS, 0, 25)
            assert interrupted.trials[25].params == expected

    def test_a_proposal_is_a_function_of_its_arguments(self, strategy: Strategy) -> None:
        """A proposer called twice with equal arguments returns equal genotypes."""
        if not isinstance(strategy, Proposer):
            pytest.skip("not a proposer")
        study = new_study()
        for _ in range(30):
            tell(study, ask(strategy, study, seed=0))
        history = past_trials(study, DIRECTIONS)
        first, second = (strategy.propose(ToySpace(), history, seed=7) for _ in range(2))
        assert first == second
