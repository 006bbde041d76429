"""Search code cannot reach the test split: a search without the file is the search with it."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from nas_pipeline.config.params import load_params
from nas_pipeline.stages.context import Context
from nas_pipeline.stages.run import run_stage, sections_of
from nas_pipeline.stages.search import study_of
from nas_pipeline.stages.table import STAGES, stage_folder
from tests.pipeline.conftest import Finished
from tests.pipeline.small_project import trials, write_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]  # one run of the project serves them all


def test_a_search_without_the_test_split_is_the_same_search(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.root / "artifacts/ingest", tmp_path / "artifacts/ingest")
    shutil.copytree(finished.root / "artifacts/validate", tmp_path / "artifacts/validate")
    shutil.copy(finished.root / "params.yaml", tmp_path)
    (tmp_path / "artifacts/ingest/test.npz").unlink()
    run_stage("search", tmp_path)
    assert trials(tmp_path) == trials(finished.root)
    assert not (tmp_path / ".nas/test_reads.jsonl").exists()


def test_a_search_beside_another_test_split_is_the_same_search(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.root / "artifacts/ingest", tmp_path / "artifacts/ingest")
    shutil.copytree(finished.root / "artifacts/validate", tmp_path / "artifacts/validate")
    shutil.copy(tmp_path / "artifacts/ingest/val.npz", tmp_path / "artifacts/ingest/test.npz")
    write_project(tmp_path, search={"budget": {"trials": 1}, "finalists": {"count": 0}})
    run_stage("search", tmp_path)
    assert trials(tmp_path) == trials(finished.root)[:1], "a smaller budget makes the same first trials"


def test_what_a_search_worker_is_given_does_not_hold_the_test_images(finished: Finished) -> None:
    params, row = load_params(finished.root), STAGES["search"]
    context = Context(finished.root, finished.root / stage_folder("search"), lambda *_: None, row.modules)
    evaluator = study_of(context, **sections_of(row, params)).evaluator
    evaluator.key()  # loads the images that an evaluator may see
    held = pickle.dumps(evaluator)
    test = (finished.root / "artifacts/ingest/test.npz").read_bytes()
    validation = (finished.root / "artifacts/ingest/val.npz").read_bytes()
    middle = slice(len(test) // 4, len(test) // 4 + 256)
    assert test[middle] not in held
    assert validation[middle] in held  # the probe would have found images, had they been there
    assert b"test.npz" not in held


def test_the_search_stage_does_not_even_declare_the_test_split(finished: Finished) -> None:
    readers = [name for name, stage in STAGES.items() if any("test.npz" in path for path in stage.reads)]
    assert readers == ["retrain"]
    assert json.loads((finished.root / "artifacts/retrain/metrics.json").read_text())["test_reads"] == 1
