"""The page with what surrounds a run: its strategy, and other searches with the same budget beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from nas_pipeline.actions.report import write_report
from nas_pipeline.config.params import compose
from tests.unit.report.toy_run import write_run

REPO = Path(__file__).parents[3]


def search(root: Path, *overrides: str) -> Path:
    write_run(root)
    (root / "params.yaml").write_text(compose(REPO, "default", overrides))
    return root


def test_random_search_with_the_same_budget_is_found(tmp_path: Path) -> None:
    root = search(tmp_path)
    assert "no run of random search" in write_report(root).read_text()
    dice = ("search.strategy.name=random", "search.strategy.options={}")
    smaller = search(root / ".nas" / "work" / "smaller", *dice, "search.budget.trials=3")
    assert "no run of random search" in write_report(root).read_text(), "another budget"
    shutil.rmtree(smaller)
    rival = search(root / ".nas" / "work" / "dice", *dice)
    assert "random 89." in write_report(root).read_text()
    assert "This search was random search itself." in write_report(rival).read_text()


def test_without_anything_there_is_a_page_that_says_so(tmp_path: Path) -> None:
    assert "nothing has run yet" in write_report(tmp_path).read_text()


def test_the_random_baseline_of_the_run_itself_comes_first(tmp_path: Path) -> None:
    root = search(tmp_path)
    shutil.copy(root / "artifacts/search/trials.json", root / "artifacts/search/random_baseline.json")
    assert "+0.00 points of validation accuracy in the search" in write_report(root).read_text()
    assert "run of this run" not in write_report(root).read_text()
