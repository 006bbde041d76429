"""A gate's no is an answer: exit status 4, one message with the figures, and nothing later starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nas_pipeline.errors import SearchRefusal
from nas_pipeline.stages.run import run_stage
from tests.pipeline.conftest import Finished
from tests.pipeline.small_project import log_of, make_workspace, run_pipeline, write_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]  # one run of the project serves them all


def nas(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("nas")), *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_bad_data_ends_the_flow_as_refused_before_any_search(tmp_path: Path) -> None:
    root = make_workspace(tmp_path)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["validation"]["min_per_class"] = 100_000
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    code, last_run = run_pipeline(root)
    assert code == 4, log_of(root)
    assert last_run["stages"]["validate"]["state"] == "refused"
    assert "search" not in last_run["stages"]
    assert not (root / "artifacts/search").exists()
    left = json.loads((root / "artifacts/validate/error.json").read_text())
    assert left["type"] == "DataRefusal"
    again = nas(root, "run", "validate")
    assert again.returncode == 4
    assert again.stderr.startswith("refused: ")
    assert "Traceback" not in again.stderr


def test_a_search_in_which_nothing_fits_says_by_how_much(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.root / "artifacts", tmp_path / "artifacts")
    tight = {"probe": "local", "latency_ms": 500.0, "size_bytes": 10, "min_accuracy": 0.3}
    write_project(tmp_path, search={"budget": {"trials": 1}}, targets={"here": tight})
    with pytest.raises(SearchRefusal, match=r"none of 1 candidates meets the bounds: .* exceeds size_bytes by \d+"):
        run_stage("search", tmp_path)
    assert json.loads((tmp_path / "artifacts/search/error.json").read_text())["type"] == "SearchRefusal"
