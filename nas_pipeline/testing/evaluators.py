"""The contract of evaluators: picklable, with a key, reproducible scores, and able to stop early."""

from __future__ import annotations

import pickle

import pytest

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.search.protocols import Evaluator, Metrics, Score
from nas_pipeline.testing.keys import check_key


class EvaluatorContract:
    """Subclasses override the fixtures `evaluator` and `genotype`."""

    exact_metrics: tuple[str, ...] = ()
    """Metrics that two evaluations of one candidate give exactly alike."""

    @pytest.fixture
    def evaluator(self) -> Evaluator:
        """The evaluator under test, with settings that make an evaluation short."""
        raise NotImplementedError("override the fixture `evaluator`")

    @pytest.fixture
    def genotype(self) -> Genotype:
        """A small candidate."""
        raise NotImplementedError("override the fixture `genotype`")

    def test_key_names_the_evaluator(self, evaluator: Evaluator) -> None:
        """The key is plain data with name and version, also in another process."""
        assert isinstance(evaluator, Evaluator)
        check_key(evaluator)

    def test_scores_in_a_pickled_copy(self, evaluator: Evaluator, genotype: Genotype) -> None:
        """Workers get a pickled copy; it returns all metrics and equal values of exact ones."""
        first = evaluator.evaluate(genotype, lambda metrics: True)
        second = pickle.loads(pickle.dumps(evaluator)).evaluate(genotype, lambda metrics: True)
        for score in (first, second):
            assert isinstance(score, Score)
            assert not score.failure
            assert not score.stopped_early
            assert set(score.metrics) >= set(getattr(evaluator, "metrics", ()))
        assert {name: first.metrics[name] for name in self.exact_metrics} == {
            name: second.metrics[name] for name in self.exact_metrics
        }

    def test_an_evaluation_can_be_stopped_early(self, evaluator: Evaluator, genotype: Genotype) -> None:
        """The callback gets the metrics so far; returning False ends the evaluation, if there is a point to end it."""
        seen: list[Metrics] = []

        def stop(metrics: Metrics) -> bool:
            seen.append(metrics)
            return False

        score = evaluator.evaluate(genotype, stop)
        assert len(seen) <= 1
        assert score.stopped_early == bool(seen)
