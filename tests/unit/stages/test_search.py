"""The search stage with a strategy that derives its candidates: all of its files, from real images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nas_pipeline.config.params import load_params
from nas_pipeline.core.files import read_json
from nas_pipeline.errors import ConfigError
from nas_pipeline.stages.plug_in_names import check_names
from nas_pipeline.stages.run import run_stage
from tests.pipeline.small_project import write_project

CELLS: dict[str, Any] = {"name": "cell", "options": {"widths": [4], "cells": [3], "nodes": 2}}
PC_DARTS = {"name": "pc_darts", "options": {
    "seeds": 1, "width": 4, "cells": 3, "nodes": 2, "partial": 2, "eval_width": 4, "eval_cells": 3, "epochs": 2,
    "images": 64, "batch_size": 16, "warmup": 0.0,
}}


def project(root: Path, **search: object) -> Path:
    return write_project(root, search={
        "space": CELLS, "strategy": PC_DARTS, "finalists": {"count": 0}, "budget": {"trials": 14},
        "evaluator": {"options": {"epochs": 2.0, "evaluations": 1}}, **search,
    })


def test_derived_candidates_and_random_ones_of_the_same_cost(tmp_path: Path) -> None:
    root = project(tmp_path)
    for stage in ("ingest", "validate", "search"):
        run_stage(stage, root)
    folder = root / "artifacts" / "search"
    trials, derived = read_json(folder / "trials.json"), read_json(folder / "derivations.json")
    assert [row["state"] for row in trials] == ["complete"], "as many as seeds, whatever the budget"
    assert [entry["genotype_id"] for entry in derived] == [row["genotype_id"] for row in trials]
    assert all(0 < row["derive_device_s"] < row["device_s"] for row in trials)
    assert [row["epoch"] for row in derived[0]["rows"]] == [0, 1]
    assert derived[0]["decisions"][-1]["action"] == f"derived {derived[0]['genotype_id']}"
    random_baseline = read_json(folder / "random_baseline.json")
    assert sum(row["device_s"] for row in random_baseline) >= sum(row["device_s"] for row in trials)
    winner = read_json(folder / "winner.json")
    best = max([*trials, *random_baseline], key=lambda row: row["metrics"]["val_accuracy"])
    assert winner["metrics"]["val_accuracy"] == best["metrics"]["val_accuracy"]
    by_chance = bool(re.search("found by the random search beside pc_darts", winner["why"]))
    assert by_chance == (winner["found_by"] == "random_baseline")


@pytest.mark.parametrize(("space", "words"), [
    ({"name": "residual", "options": {}}, "needs the space cell, not 'residual'"),
    ({**CELLS, "options": {**CELLS["options"], "widths": [8]}}, "make search.strategy.options.eval_width and"),
    ({**CELLS, "options": {**CELLS["options"], "ops": ["sep_conv_3x3"]}}, "does not offer"),
])
def test_a_space_that_lacks_what_is_derived_is_refused(tmp_path: Path, space: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_names(load_params(project(tmp_path, space=space)))
