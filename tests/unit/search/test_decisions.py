from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.errors import SearchError
from nas_pipeline.search.decisions import decide_new_trial, past_trials, study_sampler
from nas_pipeline.search.driver import run_search
from nas_pipeline.search.optuna_internals import live_trial
from nas_pipeline.search.protocols import PastTrial
from nas_pipeline.search.strategies.evolution import Evolution
from nas_pipeline.testing.strategies import DIRECTIONS, ask, new_study, tell
from nas_pipeline.testing.toy import DECISIONS, ToySpace
from tests.unit.search.test_driver import toy_search


class Counting:
    """Proposes as many ones as there are completed trials, then zeros."""

    version = 1

    def key(self) -> dict[str, object]:
        return {"name": "counting", "version": self.version, "options": {}}

    def propose(self, space: SearchSpace, history: Sequence[PastTrial], seed: int) -> Genotype:
        return Genotype("toy", 1, tuple((f"d{i}", int(i < len(history))) for i in range(DECISIONS)))


def test_history_is_the_completed_trials_with_losses_to_be_minimised() -> None:
    study = new_study()
    for _ in range(3):
        tell(study, ask(Counting(), study, seed=0))
    ask(Counting(), study, seed=0)  # running
    history = past_trials(study, DIRECTIONS)
    assert [trial.number for trial in history] == [0, 1, 2]
    assert [sum(int(choice) for _, choice in trial.genotype.genes) for trial in history] == [0, 1, 2]
    assert [trial.losses for trial in history] == [(0.0, 0.5), (-1 / 30, 0.5), (-2 / 30, 0.5)]
    assert all(trial.violations == {} for trial in history)
    assert history[0].metrics["latency_ms"] == 0.5


def test_a_stored_proposal_is_kept_although_the_history_has_grown() -> None:
    study = new_study()
    first, second = ask(Counting(), study, seed=0), ask(Counting(), study, seed=0)
    tell(study, second)
    study.sampler = study_sampler(Counting(), 0, 0)
    trial = live_trial(study, first.number)
    decide_new_trial(Counting(), ToySpace(), trial, DIRECTIONS, 0, 0)
    assert trial.user_attrs["genotype"] == first.user_attrs["genotype"]


def test_candidates_cannot_be_queued_for_a_proposer(tmp_path: Path) -> None:
    search = replace(toy_search(tmp_path), strategy=Evolution(), strategy_name="evolution")
    with pytest.raises(SearchError, match="sampler strategies only, not for 'evolution'"):
        run_search(search, [Genotype("toy", 1, tuple((f"d{i}", 1) for i in range(DECISIONS)))])
