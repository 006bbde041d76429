"""Every evaluator of the catalogue is under the contract of evaluators."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.latency.deploy import OnnxDeploy
from nas_pipeline.search import EVALUATORS
from nas_pipeline.search.protocols import Evaluator
from nas_pipeline.space import SPACES
from nas_pipeline.space.choosers import sample
from nas_pipeline.testing.evaluators import EvaluatorContract
from nas_pipeline.train.recipe import Recipe


class TestEvaluatorsOfTheCatalogue(EvaluatorContract):
    exact_metrics = ("params", "macs", "size_bytes")

    @pytest.fixture(params=list(EVALUATORS))
    def evaluator(self, request: pytest.FixtureRequest, ingested: Path) -> Evaluator:
        deploy = OnnxDeploy(precisions=("fp32",), runs=5, warmup=1)
        return EVALUATORS.make(request.param, {"epochs": 1, "evaluations": 2}, data=ingested, recipe=Recipe(),
                               deploy=deploy, device="cpu")

    @pytest.fixture
    def genotype(self) -> Genotype:
        space = SPACES.make("flexible_cnn", {"max_width": 16, "blocks": [2]})
        return sample(space, random.Random("0/evaluators"))
