"""Reproducing a published run: equal, changed, from a dirty tree, and runs that cannot be reproduced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import reproduce
from flows.compare import compare, without_measurements
from flows.dvc import reproduce as run_stage
from flows.dvc import stage_names
from flows.worktree import WORKTREES
from nas_pipeline.errors import ConfigError, RegistryError, ReproductionRefusal
from nas_pipeline.registry.origin import read_origin
from nas_pipeline.registry.publish import PublishedRun, publish
from nas_pipeline.registry.tags import provenance, run_key
from tests.unit.flows.toy_repository import git, write_repository
from tests.unit.flows.toy_workspace import runs

PublishedRepository = tuple[Path, PublishedRun]


@pytest.fixture(scope="module")
def published_run(tmp_path_factory: pytest.TempPathFactory) -> PublishedRepository:
    """A repository with uncommitted changes and a published run; shared, because MLflow's database takes seconds."""
    root = write_repository(tmp_path_factory.mktemp("made") / "repo")
    (root / "stage.py").write_text((root / "stage.py").read_text() + "# not committed \n")
    for stage in stage_names(root):
        run_stage(root, stage, lambda line: None)
    return root, publish(root, run_key=run_key(root), tags=provenance(root), tracking_uri=uri(root))


def uri(root: Path) -> str:
    return f"sqlite:///{root / 'mlflow.db'}"


@pytest.fixture
def repo(published_run: PublishedRepository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri(published_run[0]))
    monkeypatch.setenv("PYTHONPATH", "")
    yield published_run[0]
    shutil.rmtree(published_run[0] / WORKTREES, ignore_errors=True)


def test_a_reproduced_run_has_equal_outputs(repo: Path, published_run: PublishedRepository) -> None:
    run = published_run[1].run_id
    assert reproduce.main([run, "--root", str(repo)]) == 0
    (tree,) = (repo / WORKTREES).iterdir()
    assert len(runs(tree)) == 5, "nothing came from the cache"
    assert (tree / "stage.py").read_text() == (repo / "stage.py").read_text(), "what was not committed is there too"
    report = json.loads((tree / ".nas/reproduced.json").read_text())
    assert report["run_id"] == run
    assert set(report["outputs"].values()) == {"same"}
    (tree / "artifacts/search/winner.json").unlink()
    assert reproduce.main([run, "--root", str(repo)]) == 0, "the same command continues"


def test_from_the_cache_nothing_is_run(repo: Path, published_run: PublishedRepository) -> None:
    child = published_run[1].children["search"]
    verdicts = reproduce.reproduce_run(repo, child, from_cache=True)
    assert set(verdicts.values()) == {"same"}
    (tree,) = (repo / WORKTREES).iterdir()
    assert runs(tree) == []


def test_an_output_that_is_missing_is_a_refusal(repo: Path, published_run: PublishedRepository, tmp_path: Path) -> None:
    before = read_origin(repo, published_run[1].run_key).outputs()
    after = {path: md5 for path, md5 in before.items() if path != "artifacts/search"}
    verdicts = compare(before, after, tmp_path, tmp_path)
    assert verdicts["artifacts/search"] == "missing"
    with pytest.raises(ReproductionRefusal, match=r"1 of 8 outputs .*(?s:.*)artifacts/search: missing"):
        reproduce._judge("x", verdicts)


@pytest.mark.parametrize(
    ("run", "words"),
    [("0" * 32, "MLflow has no run '0000"), ("toy-set-nothing", "MLflow has no run 'toy-set-nothing'")],
)
def test_a_run_that_does_not_exist(repo: Path, run: str, words: str) -> None:
    with pytest.raises(RegistryError, match=words):
        reproduce.reproduce_run(repo, run)


def test_a_commit_that_the_clone_does_not_have(repo: Path, published_run: PublishedRepository, tmp_path: Path) -> None:
    clone = write_repository(tmp_path / "other")
    (clone / "README").write_text("another history\n")
    git(clone, "add", ".")
    git(clone, "commit", "--amend", "-m", "other")
    git(repo, "commit", "--allow-empty", "-m", "only here")
    tags = {**provenance(repo), "git.commit": git(repo, "rev-parse", "HEAD")}
    published = publish(repo, run_key="toy-set-lost", tags=tags, tracking_uri=uri(repo))
    git(repo, "reset", "--soft", "HEAD~1")
    with pytest.raises(ConfigError, match=r"has no commit .*`git fetch --all`"):
        reproduce.reproduce_run(clone, published.run_id)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"git.commit": "unknown"}, "folder without git"),
        ({"git.commit": "a" * 40, "git.dirty": "true"}, "without .*patch"),
    ],
)
def test_a_run_with_an_incomplete_record(
    repo: Path, tmp_path: Path, tags: dict[str, str], words: str
) -> None:
    shutil.copytree(repo / "artifacts", tmp_path / "artifacts")
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy(repo / name, tmp_path / name)
    published = publish(tmp_path, run_key=f"toy-set-{tags['git.commit'][:3]}", tags=tags, tracking_uri=uri(repo))
    with pytest.raises(RegistryError, match=words):
        reproduce.reproduce_run(repo, published.run_id)


def test_measured_values_are_distinguished_from_others(tmp_path: Path) -> None:
    rows = [{"number": 1, "metrics": {"val_accuracy": 0.5, "latency_ms": 2.0}, "wall_s": 3.0}]
    assert without_measurements(rows) == [{"number": 1, "metrics": {"val_accuracy": 0.5}}]
    sentence = "less accurate by 0.01 (p95 {} ms, 8 bytes)"
    assert without_measurements(sentence.format(0.036)) == sentence.format("some")
    assert without_measurements([{"gate": "latency", "passed": True, "figure": 1.0, "bound": 2.0}]) == [
        {"gate": "latency", "passed": True}
    ]
    for name, figure, accuracy in (("slow", 9.0, 0.5), ("wrong", 2.0, 0.4)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"latency_ms": figure, "val_accuracy": accuracy}))
    old = tmp_path / "cache/files/md5/ab/cd"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps({"latency_ms": 2.0, "val_accuracy": 0.5}))
    before, after = {"slow.json": "abcd", "wrong.json": "abcd", "w.bin": "1"}, {"slow.json": "x", "wrong.json": "y"}
    assert compare(before, {**after, "w.bin": "2"}, tmp_path / "cache", tmp_path) == {
        "slow.json": "measured", "wrong.json": "differs", "w.bin": "differs",
    }
