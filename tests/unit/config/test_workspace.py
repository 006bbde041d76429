"""Workspaces: own parameters, shared code and cache, untouched when nothing changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas_pipeline.config.params import load_params
from nas_pipeline.config.workspace import open_workspace, prepare_workspace, workspace_name
from nas_pipeline.errors import ConfigError
from tests.pipeline.small_project import write_project

STAGES = """
stages:
  count:
    cmd: cat nas_pipeline/code.py params.yaml > out.txt
    params: [lr]
    deps: [nas_pipeline]
    outs: [out.txt]
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / ".dvcignore").write_text("__pycache__/\n.nas/\n")
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "params.yaml").write_text("lr: 1\n")
    (tmp_path / "nas_pipeline").mkdir()
    (tmp_path / "edge_agent").mkdir()
    (tmp_path / "nas_pipeline" / "code.py").write_text("ONE = 1\n")
    return tmp_path


def dvc(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
    )
    return done.stdout


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in folder.rglob("*") if path.is_file() or path.is_symlink()
    }


def test_holds_the_given_parameters_and_the_code(repo: Path) -> None:
    folder = prepare_workspace(repo, "smoke", "lr: 2\n")
    assert folder == repo / ".nas" / "work" / "smoke"
    assert (folder / "params.yaml").read_text() == "lr: 2\n"
    assert (folder / "dvc.yaml").read_text() == STAGES
    assert (folder / "nas_pipeline").resolve() == repo / "nas_pipeline"
    assert (folder / "edge_agent").resolve() == repo / "edge_agent"


def test_second_call_touches_nothing(repo: Path) -> None:
    before = snapshot(prepare_workspace(repo, "smoke", "lr: 2\n"))
    assert snapshot(prepare_workspace(repo, "smoke", "lr: 2\n")) == before


def test_update_rewrites_only_what_changed(repo: Path) -> None:
    folder = prepare_workspace(repo, "smoke", "lr: 2\n")
    before = snapshot(folder)
    (repo / "dvc.yaml").write_text(STAGES + "# more\n")
    prepare_workspace(repo, "smoke", "lr: 2\n")
    after = snapshot(folder)
    assert {name for name in before if before[name] != after[name]} == {"dvc.yaml"}


def test_a_link_to_elsewhere_is_repaired(repo: Path) -> None:
    folder = prepare_workspace(repo, "smoke", "lr: 2\n")
    (folder / "nas_pipeline").unlink()
    (folder / "nas_pipeline").symlink_to("/nowhere")
    assert (prepare_workspace(repo, "smoke", "lr: 2\n") / "nas_pipeline" / "code.py").is_file()


@pytest.mark.parametrize("name", ["", "../x", "Smoke", "a/b", "-a"])
def test_names_that_are_no_folder_are_refused(repo: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="workspace"):
        prepare_workspace(repo, name, "")


def test_elsewhere_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dvc\.yaml"):
        prepare_workspace(tmp_path, "smoke", "")


def test_something_in_the_way_of_the_code_is_refused(repo: Path) -> None:
    (repo / ".nas" / "work" / "smoke" / "nas_pipeline").mkdir(parents=True)
    with pytest.raises(ConfigError, match="in the way"):
        prepare_workspace(repo, "smoke", "")


@pytest.mark.slow
def test_dvc_follows_the_link_and_shares_the_cache(repo: Path) -> None:
    dvc(repo, "repro", "-q")
    folder = prepare_workspace(repo, "same", "lr: 1\n")
    assert "is cached" in dvc(folder, "repro"), "done in the main folder, so restored here"
    assert "up to date" in dvc(folder, "status")
    (repo / "nas_pipeline" / "__pycache__").mkdir()
    (repo / "nas_pipeline" / "__pycache__" / "code.pyc").write_text("byte code")
    assert "up to date" in dvc(folder, "status")
    (repo / "nas_pipeline" / "code.py").write_text("ONE = 2\n")
    assert "modified" in dvc(folder, "status")


def test_equal_settings_have_the_same_name() -> None:
    name = workspace_name("smoke", ["search.seed=3", "train.lr=0.10"])
    assert name == workspace_name("smoke", ["train.lr=0.1", "search.seed=3"])
    assert name == workspace_name("smoke", ("search.seed=7", "search={seed: 3.0}", "train.lr=9", "train.lr=.1"))
    assert name.startswith("smoke-")
    assert workspace_name("smoke") == "smoke"


@pytest.mark.parametrize(
    "overrides", [["search.seed=4"], ["search.seed='3'"], ["search.seed=true"], ["seed=3"], [], ["search.seed=3.5"]]
)
def test_different_settings_have_different_names(overrides: list[str]) -> None:
    assert workspace_name("smoke", overrides) != workspace_name("smoke", ["search.seed=3"])
    assert workspace_name("default", overrides) != workspace_name("smoke", overrides)


def test_a_value_that_json_does_not_have_is_part_of_the_name() -> None:
    assert workspace_name("smoke", ["a=2026-01-01"]) != workspace_name("smoke", ["a=2026-01-02"])
    assert workspace_name("smoke", ["a=.inf"]) != workspace_name("smoke", ["a=.nan"])


def test_the_order_of_overrides_opens_the_same_workspace(repo: Path) -> None:
    write_project(repo)
    pairs = ["search.seed=3", "retrain.seeds=2"]
    folder = open_workspace(repo, "default", pairs)
    assert folder == open_workspace(repo, "default", pairs[::-1]) == repo / ".nas" / "work" / folder.name
    assert load_params(folder).search.seed == 3
    assert open_workspace(repo, "default") == repo
