"""One MLflow store with one published pipeline run for the whole session: creating a store takes seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas_pipeline.core.files import write_json
from nas_pipeline.registry.publish import PublishedRun, publish
from tests.unit.registry.toy_artifacts import write_artifacts


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tracking URI shared by the session's tests."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, store: str) -> tuple[Path, PublishedRun]:
    """A published workspace. Tests only read it."""
    root = tmp_path_factory.mktemp("workspace")
    write_artifacts(root)
    published = publish(root, run_key="toy-set-1", tags={"git.commit": "abc"}, tracking_uri=store)
    return root, published


@pytest.fixture
def workspace(tmp_path: Path, shared: tuple[Path, PublishedRun]) -> Path:
    """A copy of the artefacts, to damage."""
    return Path(shutil.copytree(shared[0], tmp_path / "workspace"))


@pytest.fixture
def edit(workspace: Path) -> Callable[[str, Callable[[Any], Any]], None]:
    """Change one JSON artefact of `workspace` by a function of its value."""

    def change(name: str, by: Callable[[Any], Any]) -> None:
        path = workspace / "artifacts" / name
        write_json(path, by(json.loads(path.read_text())))

    return change
