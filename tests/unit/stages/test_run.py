"""How a stage is run: what is checked first, the error it leaves, the progress it shows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas_pipeline.errors import ConfigError, DataError, DataRefusal
from nas_pipeline.stages.context import Context
from nas_pipeline.stages.run import run_stage
from nas_pipeline.stages.table import STAGES, Stage, stage_folder
from tests.pipeline.small_project import write_project

Play = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_project(tmp_path)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Adds a stage of that name, which does as the test says, to the table."""

    def add(name: str, does: Callable[..., None], params: tuple[str, ...] = ()) -> None:
        module = ModuleType(f"nas_pipeline.stages.play_{name}")
        module.__dict__["act"] = does
        monkeypatch.setitem(sys.modules, module.__name__, module)
        per_target = name == "deliver"
        reads = ("artifacts/toy/{target}.txt",) if per_target else ("given.txt",)
        monkeypatch.setitem(STAGES, name, Stage(name, f"play_{name}:act", params, reads, (), (), per_target))

    return add


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def error_of(root: Path, stage: str) -> dict[str, str]:
    left: dict[str, str] = json.loads((root / stage_folder(stage) / "error.json").read_text())
    return left


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("serach", "unknown stage 'serach'; there are: ingest, validate, search, retrain, export, verify"),
        ("../../elsewhere", "unknown stage"),
        ("", "unknown stage"),
        ("export@../../elsewhere", "unknown target"),
    ],
)
def test_a_name_that_is_no_stage_leaves_nothing_behind(root: Path, name: str, message: str) -> None:
    before = files(root.parent)
    with pytest.raises(ConfigError, match=message):
        run_stage(name, root)
    assert files(root.parent) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("export@moon", "unknown target 'moon'; params.yaml has: here, far"),
        ("export", "stage export runs per target: export@here, export@far"),
        ("ingest@here", "stage ingest has no targets"),
    ],
)
def test_targets_are_those_of_the_parameters(root: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_stage(name, root)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("validate", "artifacts/ingest/dataset.json"),
        ("search", "artifacts/ingest/dataset.json"),
        ("verify@far", "artifacts/export/far/model.onnx"),
    ],
)
def test_an_input_that_is_not_there_is_named(root: Path, name: str, missing: str) -> None:
    with pytest.raises(DataError, match=f"stage {name} reads {missing}, which is not there; run the stages before it"):
        run_stage(name, root)
    assert error_of(root, name)["type"] == "DataError"
    assert missing in error_of(root, name)["message"]


def test_the_first_missing_input_is_named_not_one_that_is_there(root: Path) -> None:
    (root / "artifacts" / "ingest").mkdir(parents=True)
    (root / "artifacts" / "ingest" / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match=r"stage validate reads artifacts/ingest/manifest\.parquet"):
        run_stage("validate", root)


def test_wrong_parameters_are_the_stages_error_too(root: Path) -> None:
    (root / "params.yaml").write_text("serach: {}\n")
    with pytest.raises(ConfigError, match="serach"):
        run_stage("ingest", root)
    assert error_of(root, "ingest")["type"] == "ConfigError"


def test_an_error_is_left_for_the_flow_and_gone_after_the_next_success(root: Path, play: Play) -> None:
    moods = [DataRefusal("row 7 is black"), None]

    def act(_context: Context) -> None:
        if mood := moods.pop(0):
            raise mood

    play("toy", act)
    (root / "given.txt").write_text("")
    with pytest.raises(DataRefusal, match="row 7 is black"):
        run_stage("toy", root)
    assert error_of(root, "toy") == {"type": "DataRefusal", "message": "row 7 is black"}
    run_stage("toy", root)
    assert not (root / "artifacts" / "toy" / "error.json").exists()


def test_a_defect_is_not_dressed_up_as_an_answer(root: Path, play: Play) -> None:
    def act(_context: Context) -> None:
        raise ZeroDivisionError

    play("toy", act)
    (root / "given.txt").write_text("")
    with pytest.raises(ZeroDivisionError):
        run_stage("toy", root)
    assert not (root / "artifacts" / "toy" / "error.json").exists()


def test_a_stage_receives_its_folder_and_exactly_the_parameters_of_its_row(root: Path, play: Play) -> None:
    calls: list[tuple[Context, dict[str, Any]]] = []

    def act(context: Context, **sections: Any) -> None:
        calls.append((context, sections))

    play("deliver", act, ("retrain", "targets.{target}"))
    (root / "artifacts" / "toy").mkdir(parents=True)
    (root / "artifacts" / "toy" / "far.txt").write_text("")
    run_stage("deliver@far", root)
    ((context, sections),) = calls
    assert context.target == "far"
    assert context.folder == root / "artifacts" / "deliver" / "far"
    assert context.artefacts("search") == root / "artifacts" / "search"
    assert set(sections) == {"retrain", "target"}
    assert sections["retrain"].seeds == 2
    assert sections["target"].device("far").host_factor == 4.0


def test_progress_is_written_for_whoever_watches_and_said_now_and_then(root: Path, play: Play) -> None:
    path = root / ".nas" / "progress" / "deliver-far.json"
    written: list[dict[str, object]] = []

    def act(context: Context) -> None:
        context.progress(1, 4, 90.0, "one of four")
        written.append(json.loads(path.read_text()))
        context.progress(2, 4, 60.0, "so soon after the first that nobody is told")
        context.progress(4, 4, None, "done")
        written.append(json.loads(path.read_text()))

    play("deliver", act)
    (root / "artifacts" / "toy").mkdir(parents=True)
    (root / "artifacts" / "toy" / "far.txt").write_text("")
    said: list[str] = []
    run_stage("deliver@far", root, said.append)
    assert written == [
        {"stage": "deliver@far", "done": 1, "total": 4, "eta_s": 90.0, "message": "one of four"},
        {"stage": "deliver@far", "done": 4, "total": 4, "eta_s": None, "message": "done"},
    ]
    assert (said[0], said[-1]) == ("deliver@far 25 %, about 1.5 min left", "deliver@far 100 %")


def test_work_without_a_known_end_is_shown_too(root: Path, play: Play) -> None:
    play("toy", lambda context: context.progress(3, None, None, "three so far"))
    (root / "given.txt").write_text("")
    said: list[str] = []
    run_stage("toy", root, said.append)
    assert json.loads((root / ".nas" / "progress" / "toy.json").read_text())["total"] is None
    assert said == []
