"""A published run made again: the same, changed, from a dirty tree, and what cannot be made again."""

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
from nas_pipeline.registry.publish import Published, publish
from nas_pipeline.registry.tags import provenance, run_key
from tests.unit.flows.toy_repository import git, write_repository
from tests.unit.flows.toy_workspace import runs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Published]:
    """A repository whose tree is dirty, with a published run. MLflow's database takes seconds to make: one for all."""
    root = write_repository(tmp_path_factory.mktemp("made") / "repo")
    (root / "stage.py").write_text((root / "stage.py").read_text() + "# not committed \n")
    for stage in stage_names(root):
        run_stage(root, stage, lambda line: None)
    found = publish(root, run_key=run_key(root), tags=provenance(root), tracking_uri=uri(root))
    return root, found


def uri(root: Path) -> str:
    return f"sqlite:///{root / 'mlflow.db'}"


@pytest.fixture
def repo(made: tuple[Path, Published], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri(made[0]))
    monkeypatch.setenv("PYTHONPATH", "")
    yield made[0]
    shutil.rmtree(made[0] / WORKTREES, ignore_errors=True)


def test_all_is_made_anew_and_is_the_same(repo: Path, made: tuple[Path, Published]) -> None:
    run = made[1].run_id
    assert reproduce.main([run, "--root", str(repo)]) == 0
    (tree,) = (repo / WORKTREES).iterdir()
    assert len(runs(tree)) == 5, "nothing came from the cache"
    assert (tree / "stage.py").read_text() == (repo / "stage.py").read_text(), "what was not committed is there too"
    told = json.loads((tree / ".nas/reproduced.json").read_text())
    assert told["run_id"] == run
    assert set(told["outputs"].values()) == {"same"}
    (tree / "artifacts/search/winner.json").unlink()
    assert reproduce.main([run, "--root", str(repo)]) == 0, "given again, it goes on"


def test_from_the_cache_nothing_is_run(repo: Path, made: tuple[Path, Published]) -> None:
    child = made[1].children["search"]
    verdicts = reproduce.reproduce_run(repo, child, from_cache=True)
    assert set(verdicts.values()) == {"same"}
    (tree,) = (repo / WORKTREES).iterdir()
    assert runs(tree) == []


def test_an_output_that_is_missing_is_a_refusal(repo: Path, made: tuple[Path, Published], tmp_path: Path) -> None:
    before = read_origin(repo, made[1].run_key).outputs()
    after = {path: md5 for path, md5 in before.items() if path != "artifacts/search"}
    verdicts = compare(before, after, tmp_path, tmp_path)
    assert verdicts["artifacts/search"] == "missing"
    with pytest.raises(ReproductionRefusal, match=r"1 of 8 outputs .*(?s:.*)artifacts/search: missing"):
        reproduce._judge("x", verdicts)


@pytest.mark.parametrize(
    ("run", "words"),
    [("0" * 32, "MLflow has no run '0000"), ("toy-set-nothing", "MLflow has no run 'toy-set-nothing'")],
)
def test_a_run_that_is_not_there(repo: Path, run: str, words: str) -> None:
    with pytest.raises(RegistryError, match=words):
        reproduce.reproduce_run(repo, run)


def test_a_commit_that_this_clone_has_not(repo: Path, made: tuple[Path, Published], tmp_path: Path) -> None:
    other = write_repository(tmp_path / "other")
    (other / "README").write_text("another history\n")
    git(other, "add", ".")
    git(other, "commit", "--amend", "-m", "other")
    git(repo, "commit", "--allow-empty", "-m", "only here")
    tags = {**provenance(repo), "git.commit": git(repo, "rev-parse", "HEAD")}
    found = publish(repo, run_key="toy-set-lost", tags=tags, tracking_uri=uri(repo))
    git(repo, "reset", "--soft", "HEAD~1")
    with pytest.raises(ConfigError, match=r"has no commit .*`git fetch --all`"):
        reproduce.reproduce_run(other, found.run_id)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"git.commit": "unknown"}, "folder without git"),
        ({"git.commit": "a" * 40, "git.dirty": "true"}, "without .*patch"),
    ],
)
def test_a_run_that_is_not_known_well_enough(
    repo: Path, tmp_path: Path, tags: dict[str, str], words: str
) -> None:
    shutil.copytree(repo / "artifacts", tmp_path / "artifacts")
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy(repo / name, tmp_path / name)
    found = publish(tmp_path, run_key=f"toy-set-{tags['git.commit'][:3]}", tags=tags, tracking_uri=uri(repo))
    with pytest.raises(RegistryError, match=words):
        reproduce.reproduce_run(repo, found.run_id)


def test_what_is_measured_is_told_from_what_is_not(tmp_path: Path) -> None:
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
