"""Worktrees: of one commit, with the shared cache, and the errors of git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flows.dvc import changed_stages, reproduce
from flows.worktree import WORKTREES, commit_of, prune, repository, share_work, worktree
from nas_pipeline.errors import ConfigError, WorkspaceBusy
from tests.unit.flows.toy_repository import git, write_repository
from tests.unit.flows.toy_workspace import runs


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "repo")


def test_a_worktree_contains_the_commit_and_no_edits(repo: Path) -> None:
    first = commit_of(repo, "HEAD")
    (repo / "params.yaml").write_text("targets: {edited: {probe: local}}\n")
    with worktree(repo, "a") as tree:
        assert "edited" not in (tree / "params.yaml").read_text()
        assert commit_of(tree, "HEAD") == first
    git(repo, "commit", "-am", "two")
    with worktree(repo, "a") as tree:
        assert "edited" in (tree / "params.yaml").read_text(), "another commit replaces the worktree"
    with worktree(repo, "b", first) as tree:
        assert "edited" not in (tree / "params.yaml").read_text()
    assert git(repo, "status", "--porcelain") == "", "the repository itself is not touched"


def test_worktrees_restore_each_others_outputs(repo: Path) -> None:
    with worktree(repo, "a") as tree:
        reproduce(tree, "search", lambda line: None)
        assert runs(tree) == ["search"]
    with worktree(repo, "b") as second:
        assert changed_stages(second, "search") == {"search"}
        reproduce(second, "search", lambda line: None)
        winner = Path("artifacts/search/winner.json")
        assert (second / winner).read_bytes() == (tree / winner).read_bytes()
        assert runs(second) == []
    with worktree(repo, "alone", cache=False) as alone:
        reproduce(alone, "search", lambda line: None)
        assert runs(alone) == ["search"]


def test_working_state_is_shared(repo: Path) -> None:
    with worktree(repo, "a") as a, worktree(repo, "b") as b:
        for tree in (a, b):
            share_work(repo, tree)
            share_work(repo, tree)
        (a / ".nas/search/journal").write_text("half a search")
        (a / ".nas/test_reads.jsonl").write_text("{}")
        assert (b / ".nas/search/journal").read_text() == "half a search"
        assert (b / ".nas/test_reads.jsonl").read_text() == "{}"


def test_the_oldest_worktrees_are_removed_unless_in_use(repo: Path) -> None:
    for age, name in enumerate(("new", "old", "older", "busy")):
        with worktree(repo, name) as tree:
            os.utime(tree, (1000 - age, 1000 - age))
    with worktree(repo, "busy"):
        os.utime(repo / WORKTREES / "busy", (1, 1))
        assert prune(repo, retain=1) == ["old", "older"]
    assert sorted(path.name for path in (repo / WORKTREES).iterdir()) == ["busy", "new"]


def test_one_run_in_a_worktree(repo: Path) -> None:
    with worktree(repo, "a"), pytest.raises(WorkspaceBusy, match="another pipeline"), worktree(repo, "a"):
        pass


def test_a_folder_without_a_record_in_git_is_replaced(repo: Path) -> None:
    (repo / WORKTREES / "a").mkdir(parents=True)
    with worktree(repo, "a") as tree:
        assert (tree / "dvc.yaml").is_file()


def test_an_unknown_commit_names_the_remedy(repo: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no commit 'nigthly': `git fetch --all` fetches"):
        commit_of(repo, "nigthly")


def test_a_missing_repository_and_a_missing_git_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=rf"git rev-parse --show-toplevel in {tmp_path}: fatal: not a git repository"):
        repository(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"git is not installed.*`nas pipeline`"):
        repository(tmp_path)
