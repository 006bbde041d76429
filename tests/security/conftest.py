"""One device that runs a model, made once; each test has its own copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.scene import Scene


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("before"))


@pytest.fixture
def scene(before: Scene, tmp_path: Path) -> Scene:
    return before.again(tmp_path)
