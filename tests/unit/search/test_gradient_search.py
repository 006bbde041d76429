"""A strategy that derives its candidate: one search is one trial, its cost counted, and it survives what trials do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nas_pipeline.errors import SearchRefusal
from nas_pipeline.search.driver import Search, derivations, run_search
from tests.toy import ToyDeriving
from tests.unit.search.test_driver import essence, toy_search

REPO = Path(__file__).parents[3]


def deriving(folder: Path, strategy: ToyDeriving) -> Search:
    return replace(toy_search(folder, trials=3), strategy=strategy, strategy_name="toy")


def test_one_search_is_one_trial_and_its_cost_counts(tmp_path: Path) -> None:
    search = replace(deriving(tmp_path, ToyDeriving()), workers=2)
    rows = run_search(search)
    assert [dict(row["genotype"]["genes"])["d0"] for row in rows] == [0, 1, 2]
    assert [(row["derive_device_s"], row["device_s"]) for row in rows] == [(7.0, 8.0)] * 3
    noted = derivations(search)
    assert [(entry["number"], entry["device_s"], entry["rows"]) for entry in noted] == [
        (number, 7.0, [{"epoch": 0}]) for number in range(3)]
    assert [entry["genotype_id"] for entry in noted] == [row["genotype_id"] for row in rows]


def test_sigkill_in_a_derivation_then_the_same_search_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.search.test_gradient_search import deriving; from tests.toy import ToyDeriving\n"
        "from nas_pipeline.search.driver import run_search\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    run_search(deriving(folder, ToyDeriving()))\n"
    )
    killed, script = tmp_path / "killed", tmp_path / "script.py"
    killed.mkdir()
    (killed / "kill-1").touch()
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script), str(killed)], check=False, cwd=REPO,
                          env={**os.environ, "PYTHONPATH": str(REPO)})
    assert done.returncode == -signal.SIGKILL
    resumed = run_search(deriving(killed, ToyDeriving()))
    assert essence(resumed) == essence(run_search(deriving(tmp_path / "whole", ToyDeriving())))
    assert (killed / "tally").read_text().split() == ["0", "1", "1", "2"]


def test_a_derivation_that_fails_is_a_trial_state(tmp_path: Path) -> None:
    rows = run_search(deriving(tmp_path, ToyDeriving(fail_on=1)))
    assert [row["state"] for row in rows] == ["complete", "fail", "complete"]
    assert "this supernet cannot be trained" in rows[1]["failure"]


def test_a_refusal_is_the_answer_of_the_search(tmp_path: Path) -> None:
    with pytest.raises(SearchRefusal, match="no genotype keeps the bound"):
        run_search(deriving(tmp_path, ToyDeriving(refuse=True)))
