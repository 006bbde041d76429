"""Names of studies, fixed: a change of what identifies a search would abandon the working state of users.

A name that changes on purpose is replaced here, in the same commit as the `version` or option that changed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from nas_pipeline.core.files import canonical_json
from nas_pipeline.core.measures import Budget, Constraint, Objective
from nas_pipeline.search import STRATEGIES
from nas_pipeline.search.driver import Search
from nas_pipeline.search.objectives import ObjectiveFunction, ParetoObjective, WeightedObjective
from nas_pipeline.space import SPACES

FRONT = ParetoObjective((Objective("val_accuracy", "maximize"), Objective("latency_ms", "minimize")))
COST = WeightedObjective(1.0, 0.1, 0.1, 1.0, 1000.0)


@dataclass(frozen=True)
class FixedEvaluator:
    """An evaluator whose key does not depend on files."""

    version: ClassVar[int] = 1

    def key(self) -> dict[str, object]:
        return {"name": "fixed", "version": self.version, "options": {"epochs": 2.0}}

    def evaluate(self, genotype: Any, on_evaluation: Any) -> Any:
        raise NotImplementedError


def search(
    space: str, space_options: dict[str, Any], strategy: str, options: dict[str, Any], objective: ObjectiveFunction
) -> Search:
    return Search(
        space=SPACES.make(space, space_options), strategy=STRATEGIES.make(strategy, options), strategy_name=strategy,
        evaluator=FixedEvaluator(), objective=objective, constraints=(Constraint("latency_ms", at_most=0.8),),
        budget=Budget(trials=10), seed=0, workers=2, folder=Path("unused"),
    )


CASES: list[tuple[str, dict[str, Any], str, dict[str, Any], ObjectiveFunction, str]] = [
    ("mbconv", {}, "nsga2", {}, FRONT, "2ebb2f12ab7165a9"),
    ("mbconv", {"max_width": 48, "kernels": [3]}, "tpe", {"startup_trials": 4}, FRONT, "76c34c52a0bf5f8b"),
    ("residual", {"zero_init": True}, "random", {}, COST, "23730571515e0cdc"),
    ("flexible_cnn", {}, "evolution", {}, FRONT, "66b971eb06a20327"),
    ("cell", {}, "darts", {"epochs": 3}, FRONT, "be04358159db6b60"),
    ("cell", {}, "pc_darts", {}, FRONT, "40690382b96cde68"),
    ("cell", {}, "gdas", {"bounds": {"params": 1e6}}, FRONT, "6e2fc1c13adc08c5"),
    ("nasbench201", {}, "evolution", {"population": 8, "sample_size": 2}, COST, "9c5f05300e4e8925"),
]


@pytest.mark.parametrize(("space", "space_options", "strategy", "options", "objective", "name"), CASES)
def test_the_name_of_a_study_is_fixed(
    space: str, space_options: dict[str, Any], strategy: str, options: dict[str, Any], objective: ObjectiveFunction,
    name: str,
) -> None:
    named = search(space, space_options, strategy, options, objective)
    assert named.name == name, canonical_json(named.key())


def test_keys_hold_no_private_names() -> None:
    for space in SPACES:
        for strategy in STRATEGIES:
            assert '"_' not in canonical_json(search(space, {}, strategy, {}, FRONT).key())


def test_the_digest_of_the_code_is_part_of_the_name() -> None:
    base = search("mbconv", {}, "random", {}, FRONT)
    fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
    assert Search(**{**fields, "code": "c0de"}).name != base.name
