"""`make fleet-demo`, with five devices and a registered toy version."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.fleet_demo import console, show
from nas_pipeline.registry.publish import PublishedRun
from tests.unit.registry.conftest import shared, store, workspace
from tests.unit.registry.versions import Versions

__all__ = ["shared", "store", "workspace"]  # fixtures


@pytest.mark.slow
def test_the_demo_goes_as_told(workspace: Path, shared: tuple[Path, PublishedRun], store: str, tmp_path: Path) -> None:
    target = "demo"
    versions = Versions(workspace, store, shared[1], target)
    versions.add(wrong=set())
    with ExitStack() as stack, console.capture() as output:
        assert show(workspace, target, tmp_path, stack, store, number=5)
    text = " ".join(output.get().split())
    assert text.count("5 of 5 devices serve") == 2
    assert "rolled back" in text
    assert (tmp_path / "fleet.html").stat().st_size > 1000
