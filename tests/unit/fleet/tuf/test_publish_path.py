"""The path of a publication through the code: how many functions handle the name of the target, and what they read."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from typer.testing import CliRunner

from nas_pipeline.cli.app import app
from nas_pipeline.fleet.tuf.publish import publish
from nas_pipeline.fleet.tuf.releases import next_counter, returned
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.store import FolderStore
from nas_pipeline.registry.publish import PublishedRun
from tests.unit.fleet.toy_releases import new_fleet
from tests.unit.registry.conftest import shared, store, workspace
from tests.unit.registry.versions import Versions

__all__ = ["shared", "store", "workspace"]  # fixtures

REPO = Path(__file__).resolve().parents[4]
TARGET = "traced"
"""Beginning of the name of a target, which no other argument has by chance."""
GENERAL = {"metadata_name", "_read", "_check_signatures", "MetadataWriter.date", "check_name", "_typed"}
"""Functions for any role, name or value: a delegated role has the name of its target."""


def _nas(*arguments: str) -> None:
    result = CliRunner().invoke(app, ["fleet", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@contextmanager
def traced_arguments(value: str) -> Iterator[dict[CodeType, set[str]]]:
    """Records the functions of the product that are called with `value`: code -> names of the arguments."""
    functions: dict[CodeType, set[str]] = {}

    def record(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and ("/nas_pipeline/" in code.co_filename or "/edge_agent/" in code.co_filename):
            count = code.co_argcount + code.co_kwonlyargcount
            arguments = {name: frame.f_locals.get(name) for name in code.co_varnames[:count]}
            names = {name for name, argument in arguments.items() if isinstance(argument, str) and argument == value}
            if names:
                functions.setdefault(code, set()).update(names)

    sys.setprofile(record)
    try:
        yield functions
    finally:
        sys.setprofile(None)


class RecordingStore(FolderStore):
    """A folder store that records each read and whether the publisher's lock was held at that moment."""

    def __init__(self, folder: Path, lock: Path) -> None:
        super().__init__(folder)
        self.lock = lock
        self.reads: list[tuple[str, bool]] = []

    def read(self, name: str) -> bytes | None:
        self.reads.append((name, _is_locked(self.lock)))
        return super().read(name)


def _is_locked(path: Path) -> bool:
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture
def versions(
    workspace: Path, shared: tuple[Path, PublishedRun], store: str, request: pytest.FixtureRequest
) -> Versions:
    name = str(request.node.name)[5:20].replace("_", "-").strip("-")
    return Versions(workspace, store, shared[1], f"{TARGET}-{name}")


def test_fewer_than_20_functions_take_the_name_of_the_target(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, target = str(versions.root), versions.target
    versions.add(wrong=set())
    (versions.root / "params.yaml").write_text((REPO / "params.yaml").read_text().replace("local-cpu", target))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", versions.store)
    _nas("init", "--root", root)
    with traced_arguments(target) as functions:
        _nas("publish", "--target", target, "--root", root)
    names = {code.co_qualname: arguments for code, arguments in functions.items()}
    assert {"publish", "publish_release", "releasable", "Repository.edit", "MetadataWriter.sign_target"} <= set(names)
    assert len(functions) < 20, sorted(names)
    renamed = {name for name, arguments in names.items() if arguments != {"target"}}
    assert renamed <= GENERAL, "the name of the target is called `target` everywhere else"


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_publication_reads_each_metadata_file_once_and_under_the_lock(
    versions: Versions, tmp_path: Path, earlier: int
) -> None:
    fleet = new_fleet(tmp_path, target_names=(versions.target, "nano"))
    for _ in range(earlier):
        publish(fleet, versions.root, versions.target, who="ann", version=versions.add(wrong=set()),
                tracking_uri=versions.store)
        with fleet.edit(versions.target, versions.model) as edit:
            full = returned(edit.release_list, edit.release_list[0], next_counter(edit.release_list))
            edit.sign(full, edit.entry("rolled back", full[0], who="ann", why=""))
    recording = RecordingStore(Path(fleet.settings.store), fleet.settings.folder / "lock")
    fleet = Repository(fleet.settings, recording, fleet.keys, fleet.clock)
    result = publish(fleet, versions.root, versions.target, who="ann", version=versions.add(wrong=set()),
                     tracking_uri=versions.store)
    assert result.changed
    metadata = [name for name, _ in recording.reads if name.startswith("metadata/")]
    roles = {name.removesuffix(".json").rpartition(".")[2].removeprefix("metadata/") for name in metadata}
    assert roles == {"root", "timestamp", "snapshot", "targets", versions.target, "nano"}
    assert sorted(metadata) == sorted(set(metadata)), "each file is read once"
    lists = [name for name, _ in recording.reads if name.endswith(".release.json")]
    assert sorted(lists) == sorted(set(lists))
    assert all(locked for _, locked in recording.reads), "nothing is read outside the lock"
