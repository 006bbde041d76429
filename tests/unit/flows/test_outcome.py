"""The outcome of a pipeline run, as JSON and Markdown."""

from __future__ import annotations

import json
from pathlib import Path

from flows.outcome import RunOutcome, trials_table


def target(registered: str | None = None, **why: str) -> dict[str, str | None]:
    return {"registered": registered, "model": "m--t", "refusal": None, "skipped": None, **why}


def test_written_whole_and_shown(root: Path) -> None:
    outcome = RunOutcome(root, stages={"search": {"state": "cached", "wall_s": 0.25}}, unpublished="MLflow is down")
    outcome.targets = {"a": target("3"), "b": target(refusal="latency: 2 (bound 1)"), "c": target(skipped="no MLflow")}
    outcome.write()
    written = json.loads((root / ".nas" / "last-run.json").read_text())
    assert set(written) == {"stages", "published", "unpublished", "targets", "error", "provenance", "wall_s"}
    assert written["targets"]["a"]["registered"] == "3"
    page = outcome.markdown()
    for line in ("| search | cached | 0.2 |", "| a | m--t | version 3 |", "latency: 2 (bound 1)", "MLflow is down"):
        assert line in page


def test_refused_only_when_every_target_was(root: Path) -> None:
    outcome = RunOutcome(root)
    assert not outcome.all_refused
    outcome.targets = {"a": target(refusal="red"), "b": target(refusal="red too")}
    assert outcome.all_refused
    assert outcome.refusals() == ["red", "red too"]
    outcome.targets["c"] = target("1")
    assert not outcome.all_refused


def test_the_best_trials_are_shown_first(root: Path) -> None:
    assert trials_table(root) == []
    rows = trials_table(root / "made")
    assert [row["trial"] for row in rows[:3]] == [29, 28, 27]
    assert len(rows) == 20
