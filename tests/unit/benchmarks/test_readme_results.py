"""The results in README come from one whole run of one commit, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.readme_results import BEGIN, END, replace_block, results, whole_run
from nas_pipeline.core.files import read_json, write_json
from nas_pipeline.errors import ConfigError, DataError
from tests.unit.report.toy_run import write_run

CLEAN = {"git.commit": "0123456789abcdef", "git.dirty": "false"}


def last_run(root: Path, **changes: Any) -> Path:
    path = root / ".nas" / "last-run.json"
    stages = {name: {"state": "ran", "wall_s": 1.0} for name in ("search", "retrain")}
    run = read_json(path) if path.is_file() else {"targets": {}}
    write_json(path, {**run, "stages": stages, "wall_s": 3.0, "provenance": CLEAN, **changes})
    return root


def test_the_block_names_the_commit_and_the_measured_figures(tmp_path: Path) -> None:
    write_run(tmp_path)
    last_run(tmp_path)
    text = "\n".join(results(tmp_path))
    result = read_json(tmp_path / "artifacts/retrain/result.json")
    assert CLEAN["git.commit"][:12] in text
    assert f"{result['params']:,}" in text
    for name in read_json(tmp_path / ".nas/last-run.json")["targets"]:
        report = read_json(tmp_path / f"artifacts/verify/{name}/latency.json")
        assert f"{report['p95_ms']:.3f}" in text


@pytest.mark.parametrize("changes", [
    {"provenance": {"git.commit": "01234567", "git.dirty": "true"}},
    {"provenance": {"git.commit": "unknown", "git.dirty": "unknown"}},
    {"stages": {"search": {"state": "cached", "wall_s": 0.1}}},
])
def test_figures_of_more_than_one_commit_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        whole_run(last_run(tmp_path, **changes))


def test_without_a_run_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        whole_run(tmp_path)


def test_only_the_block_changes(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    replace_block(readme, "new")
    assert readme.read_text() == f"above\n{BEGIN}\nnew\n{END}\nbelow\n"
    readme.write_text("no markers\n")
    with pytest.raises(ConfigError):
        replace_block(readme, "new")
