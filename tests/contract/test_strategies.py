"""Every strategy of the catalogue is under the contract of its kind. A new row of STRATEGIES needs no line here."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import cast

import pytest

from nas_pipeline.core.files import canonical_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.errors import ConfigError, SpaceError
from nas_pipeline.search import STRATEGIES
from nas_pipeline.search.decisions import decide_new_trial
from nas_pipeline.search.protocols import GradientSearch, Strategy
from nas_pipeline.space import SPACES
from nas_pipeline.testing.gradient_searches import GradientSearchContract
from nas_pipeline.testing.strategies import DIRECTIONS, StrategyContract, new_study, propose_and_score
from nas_pipeline.testing.toy import ToySpace

GRADIENT_SEARCHES = [name for name in STRATEGIES if isinstance(STRATEGIES.make(name), GradientSearch)]


class TestStrategiesOfTheCatalogue(StrategyContract):
    @pytest.fixture(params=[name for name in STRATEGIES if name not in GRADIENT_SEARCHES])
    def strategy(self, request: pytest.FixtureRequest) -> Strategy:
        return STRATEGIES.make(request.param)


def test_random_does_not_learn() -> None:
    scores = propose_and_score(STRATEGIES.make("random"), 150, seed=0)
    assert 0.44 < sum(scores[100:]) / 50 < 0.56


class Stubborn:
    """A proposer that returns the same genotype, whatever the space."""

    version = 1

    def __init__(self, genotype: Genotype) -> None:
        self.genotype = genotype

    def key(self) -> dict[str, object]:
        return {"name": "stubborn", "version": self.version, "options": {}}

    def propose(self, space: SearchSpace, history: object, seed: int) -> Genotype:
        return self.genotype


@pytest.mark.parametrize("genotype", [
    Genotype("toy", 1, (("d0", 1),)),
    Genotype("toy", 1, tuple((f"d{number}", 4) for number in range(10))),
    Genotype("toy", 1, tuple((f"d{number}", 1) for number in range(11))),
    Genotype("toy", 2, tuple((f"d{number}", 1) for number in range(10))),
    Genotype("other", 1, tuple((f"d{number}", 1) for number in range(10))),
], ids=["missing", "illegal", "surplus", "version", "space"])
def test_a_proposal_outside_the_space_is_an_error(genotype: Genotype) -> None:
    trial = new_study().ask()
    with pytest.raises(SpaceError, match="the proposed genotype"):
        decide_new_trial(Stubborn(genotype), ToySpace(), trial, DIRECTIONS, 0, 0)


SMALL = {"width": 4, "cells": 3, "nodes": 1, "ops": ["none", "skip_connect", "nor_conv_3x3"], "epochs": 1,
         "batch_size": 16, "images": 64, "eval_cells": 3, "eval_width": 4, "eigenvalue_every": 0, "skip_cap": None}


def test_the_gradient_searches_are_recognised() -> None:
    assert GRADIENT_SEARCHES == ["darts", "pc_darts", "gdas"]


class TestGradientSearchesOfTheCatalogue(GradientSearchContract):
    @pytest.fixture(params=GRADIENT_SEARCHES)
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def search(self, name: str, ingested: Path) -> GradientSearch:
        return cast(GradientSearch, STRATEGIES.make(name, SMALL, data=ingested, device="cpu"))

    @pytest.fixture
    def space(self) -> SearchSpace:
        return SPACES.make("cell")

    def test_its_key_is_its_options_and_not_what_the_pipeline_passes(self, name: str, ingested: Path) -> None:
        search = STRATEGIES.make(name, {"seeds": 2}, data=ingested, device="cpu")
        assert canonical_json(search.key()) == canonical_json(STRATEGIES.make(name, {"seeds": 2}).key())
        assert search.key() != STRATEGIES.make(name, {"seeds": 3}).key()
        assert pickle.loads(pickle.dumps(search)) == search
        assert isinstance(search, GradientSearch)
        assert search.seeds == 2

    def test_without_data_it_names_the_argument(self, name: str, tmp_path: Path) -> None:
        search = STRATEGIES.make(name)
        assert isinstance(search, GradientSearch)
        with pytest.raises(ConfigError, match="pass `data`"):
            search.derive(0, tmp_path)


@pytest.mark.parametrize(("strategy", "options"), [
    ("pc_darts", {"partial": 3}), ("gdas", {"last_temperature": 0.0}), ("darts", {"epoch": 3}), ("darts", {"nodes": 0}),
    ("evolution", {"population": 1}), ("evolution", {"sample_size": 0}), ("evolution", {"sample_size": 21}),
    ("evolution", {"populaton": 3}),
])
def test_options_out_of_range_are_refused_when_it_is_made(strategy: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        STRATEGIES.make(strategy, options)
