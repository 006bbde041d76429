"""Provenance tags: digests of code, parameters, data and environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nas_pipeline.core.files import sha256_file
from nas_pipeline.registry.tags import provenance, run_key, uncommitted


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_digests_commit_and_dirt(workspace: Path) -> None:
    git(workspace, "init")
    git(workspace, "add", ".")
    git(workspace, "commit", "-m", "all")
    tags = provenance(workspace, flow_run_id="flow-1")
    assert len(tags["git.commit"]) == 40
    assert tags["git.dirty"] == "false"
    assert tags["dvc.lock.sha256"] == sha256_file(workspace / "dvc.lock")
    assert tags["dataset.digest"] == "d" * 64
    assert tags["prefect.flow_run_id"] == "flow-1"
    assert uncommitted(workspace) == ""
    (workspace / "params.yaml").write_text("changed: true\n")
    assert provenance(workspace)["git.dirty"] == "true"
    assert uncommitted(workspace).endswith("+changed: true\n")
    assert "prefect.flow_run_id" not in provenance(workspace)


def test_a_value_that_cannot_be_determined_is_unknown(workspace: Path) -> None:
    (workspace / "dvc.lock").unlink()
    tags = provenance(workspace)
    assert tags["git.commit"] == tags["git.dirty"] == tags["dvc.lock.sha256"] == "unknown"
    assert uncommitted(workspace) == ""


def test_the_lock_of_the_repository_counts_in_a_workspace(workspace: Path) -> None:
    (workspace / "requirements.lock").unlink()
    (workspace.parent / "requirements.lock").write_text("of the repository\n")
    expected = sha256_file(workspace.parent / "requirements.lock")
    assert provenance(workspace)["requirements.lock.sha256"] == expected


def test_run_key_follows_the_lock(workspace: Path) -> None:
    before = run_key(workspace)
    assert before.startswith("toy-set-")
    assert run_key(workspace) == before
    (workspace / "dvc.lock").write_text("another")
    assert run_key(workspace) != before
