"""Fixtures: a device that runs a model, copied for each test; a fleet with one release and its TUF client."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_pipeline.fleet.tuf.repository import Repository
from tests.security.scene import Scene
from tests.unit.fleet.toy_releases import Client, client_of, new_fleet, publish


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("before"))


@pytest.fixture
def scene(before: Scene, tmp_path: Path) -> Scene:
    return before.again(tmp_path)


@pytest.fixture
def fleet(tmp_path: Path) -> Repository:
    repository = new_fleet(tmp_path)
    publish(repository, b"one")
    return repository


@pytest.fixture
def client(fleet: Repository, tmp_path: Path) -> Client:
    seen = client_of(fleet, tmp_path / "client")
    assert seen.look() == {1: b"one"}
    return seen
