from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from nas_pipeline.core.disk import storage_error
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.measures import Budget, Constraint, Objective
from nas_pipeline.errors import SearchError, StorageError
from nas_pipeline.search import STRATEGIES
from nas_pipeline.search.driver import Search, run_search, score_all
from nas_pipeline.search.early_stopping import EARLY_STOPPING
from nas_pipeline.search.objectives import ParetoObjective, WeightedObjective
from nas_pipeline.search.protocols import GradientSearch
from nas_pipeline.search.strategies.evolution import Evolution
from tests.toy import DECISIONS, ToyEvaluator, ToySpace

REPO = Path(__file__).parents[3]
FRONT = ParetoObjective((Objective("val_accuracy", "maximize"), Objective("latency_ms", "minimize")))
SMALL = {"evolution": {"population": 4, "sample_size": 2}}
"""Options with which a search of a few trials leaves the random phase."""


def toy_search(folder: Path, strategy: str = "random", trials: int = 6, **changed: object) -> Search:
    search = Search(
        space=ToySpace(), strategy=STRATEGIES.make(strategy, SMALL.get(strategy)), strategy_name=strategy,
        evaluator=ToyEvaluator(), objective=FRONT, constraints=(Constraint("latency_ms", at_most=0.8),),
        budget=Budget(trials=trials), seed=0, workers=1, folder=folder,
    )
    return replace(search, **changed)


def essence(rows: list[dict]) -> list[tuple]:
    return [(row["number"], row["state"], row["genotype_id"], row["metrics"], row["violations"]) for row in rows]


def test_a_search_returns_exactly_its_budget_of_trials(tmp_path: Path) -> None:
    rows = run_search(toy_search(tmp_path, trials=6, workers=2))
    assert [row["number"] for row in rows] == list(range(6))
    assert {row["state"] for row in rows} == {"complete"}
    assert all(row["feasible"] == (row["metrics"]["latency_ms"] <= 0.8) for row in rows)


def test_a_larger_budget_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    evaluator = ToyEvaluator(tally=tally)
    first = run_search(toy_search(tmp_path, trials=3, evaluator=evaluator))
    more = run_search(toy_search(tmp_path, trials=5, evaluator=evaluator))
    assert essence(more)[:3] == essence(first)
    assert len(tally.read_text().splitlines()) == 5
    assert essence(run_search(toy_search(tmp_path / "anew", trials=5))) == essence(more)


PROPOSE = [name for name in STRATEGIES if not isinstance(STRATEGIES.make(name), GradientSearch)]
"""Those that are no gradient search; test_gradient_search.py has the others."""


@pytest.mark.parametrize("strategy", PROPOSE)
def test_sigkill_then_the_same_search_ends_as_an_undisturbed_one(strategy: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from tests.unit.search.test_driver import toy_search; from tests.toy import ToyEvaluator\n"
        "from nas_pipeline.search.driver import run_search\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    run_search(toy_search(folder, sys.argv[2], trials=12, "
        "evaluator=ToyEvaluator(tally=folder / 'tally', kill_at=8)))"
    )
    script = tmp_path / "killed.py"
    script.write_text(code)
    killed = tmp_path / "killed"
    killed.mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(killed), strategy], check=False, cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert done.returncode == -signal.SIGKILL
    resumed = run_search(toy_search(killed, strategy, trials=12, evaluator=ToyEvaluator(tally=killed / "tally")))
    undisturbed = run_search(toy_search(tmp_path / "undisturbed", strategy, trials=12))
    assert essence(resumed) == essence(undisturbed)
    scored = Counter(killed.joinpath("tally").read_text().split())
    assert set(scored) == {row["genotype_id"] for row in resumed}
    assert sum(scored.values()) == len(scored) + 1  # only the trial that was cut off is scored twice


def test_an_architecture_that_comes_again_is_not_scored_again(tmp_path: Path) -> None:
    genotype = Genotype("toy", 1, tuple((f"d{i}", 1) for i in range(DECISIONS)))
    tally = tmp_path / "tally"
    rows = score_all(toy_search(tmp_path, evaluator=ToyEvaluator(tally=tally)), [genotype, genotype])
    assert [row["same_as"] for row in rows] == [None, 0]
    assert rows[0]["metrics"] == rows[1]["metrics"]
    assert len(tally.read_text().splitlines()) == 1


def test_failed_candidates_are_trial_states_until_they_are_too_many(tmp_path: Path) -> None:
    rows = run_search(toy_search(tmp_path, trials=12, evaluator=ToyEvaluator(fail_on=0), max_failed=0.9))
    failed = [row for row in rows if row["state"] == "fail"]
    assert failed
    assert "this candidate cannot be built" in failed[0]["failure"]
    assert len(rows) == 12
    with pytest.raises(SearchError, match=r"trials failed; the first: RuntimeError: this candidate cannot be built"):
        run_search(toy_search(tmp_path, trials=12, evaluator=ToyEvaluator(fail_on=0), max_failed=0.01))


def test_a_full_disk_fails_no_trial_and_the_search_goes_on_when_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    with pytest.raises((StorageError, OSError)) as caught:  # a worker's, or the driver's own
        run_search(toy_search(small_disk, trials=60))
    assert "the disk or the quota is full" in str(storage_error(caught.value, small_disk) or caught.value)
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    rows = run_search(toy_search(small_disk, trials=60))
    assert essence(rows) == essence(run_search(toy_search(tmp_path, trials=60)))


def test_early_stopping_works_for_one_objective(tmp_path: Path) -> None:
    objective = WeightedObjective(1.0, 0.1, 0.1, 1.0, 1000.0)
    search = toy_search(tmp_path, trials=14, objective=objective, pruner=EARLY_STOPPING.make("median"))
    states = Counter(row["state"] for row in run_search(search))
    assert states["pruned"] > 0
    assert states["complete"] >= 4
    assert sum(states.values()) == 14


def test_the_wall_clock_ends_a_search(tmp_path: Path) -> None:
    rows = run_search(toy_search(
        tmp_path, evaluator=ToyEvaluator(wait_s=0.3), budget=Budget(trials=10_000, wall_s=12.0)
    ))
    assert 1 <= len(rows) < 60  # 12 s of trials of 0.3 s and more
    assert all(row["state"] == "complete" or row["failure"].startswith("cut off") for row in rows)
    assert all(row["state"] == "complete" or row["failure_kind"] == "cut_off" for row in rows)


def test_a_failure_whose_text_begins_with_cut_off_counts_as_failed(tmp_path: Path) -> None:
    evaluator = ToyEvaluator(fail_on=0, failure="cut off: the gradients were clipped to zero")
    with pytest.raises(SearchError, match=r"trials failed; the first: cut off: the gradients"):
        run_search(toy_search(tmp_path, trials=12, evaluator=evaluator, max_failed=0.01))


def test_another_key_is_another_study(tmp_path: Path) -> None:
    base = toy_search(tmp_path)
    assert base.name == toy_search(tmp_path, trials=99).name
    others = [replace(base, seed=1), replace(base, objective=WeightedObjective(1.0, 0.1, 0.1, 1.0, 1000.0)),
              toy_search(tmp_path, "tpe"), replace(base, constraints=()), replace(base, rung=1),
              replace(base, code="another"), replace(base, strategy=Evolution()),
              replace(base, strategy=Evolution(population=8, sample_size=2))]
    assert len({base.name, *(other.name for other in others)}) == 1 + len(others)


def test_progress_counts_trials_and_knows_how_many_are_left(tmp_path: Path) -> None:
    seen: list[tuple] = []
    run_search(toy_search(tmp_path, trials=4), progress=lambda *given: seen.append(given))
    assert [entry[0] for entry in seen] == [1, 2, 3, 4]
    assert {entry[1] for entry in seen} == {4}
    assert seen[-1][2] == 0
