"""Publication of a registered version: gates, golden vectors, order of the writes, and recovery after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_agent.contract import wire
from nas_pipeline.core.failpoints import VARIABLE
from nas_pipeline.errors import FleetError, PromotionRefusal
from nas_pipeline.export.session import open_session, predict
from nas_pipeline.fleet.reports.drift import observe_release
from nas_pipeline.fleet.tuf.publish import publish
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.registry.promote import promote
from nas_pipeline.registry.publish import PublishedRun
from tests.unit.fleet.toy_releases import new_fleet
from tests.unit.registry.conftest import shared, store, workspace
from tests.unit.registry.versions import Versions

__all__ = ["shared", "store", "workspace"]  # fixtures

@pytest.fixture
def target(request: pytest.FixtureRequest) -> str:
    """A target of its own, and thus a registered model of its own, for each test."""
    return str(request.node.name).replace("_", "-")[:40].strip("-")


@pytest.fixture
def versions(workspace: Path, shared: tuple[Path, PublishedRun], store: str, target: str) -> Versions:
    return Versions(workspace, store, shared[1], target)


@pytest.fixture
def fleet(tmp_path: Path, target: str) -> Repository:
    return new_fleet(tmp_path, target_names=(target,), waves=(100, 10_000))


_COMMAND = """
import sys
from pathlib import Path
from nas_pipeline.fleet.tuf.publish import publish
from nas_pipeline.fleet.tuf.repository import Repository
from tests.unit.fleet.toy_releases import settings_of
folder, root, store, target = sys.argv[1:]
fleet = Repository.open(settings_of(Path(folder), target_names=(target,), waves=(100, 10_000)))
publish(fleet, Path(root), target, who="ann", tracking_uri=store)
"""


def test_an_interrupted_publication_is_completed(
    fleet: Repository, versions: Versions, target: str, tmp_path: Path
) -> None:
    number = versions.add(wrong=set())
    for point in ("bundle", "alias"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, f"{point}:full")
            with pytest.raises(OSError, match="No space"):
                publish(fleet, versions.root, target, who="ann", tracking_uri=versions.store)
        assert "canary" not in versions.aliases
        command = [sys.executable, "-c", _COMMAND, str(tmp_path), str(versions.root), versions.store, target]
        done = subprocess.run(command, env={**os.environ, VARIABLE: point}, check=False, capture_output=True)
        assert done.returncode == -9, done.stderr.decode()
        assert len(fleet.release_list(target, versions.model)) == (0 if point == "bundle" else 1)
        assert "canary" not in versions.aliases
    again = publish(fleet, versions.root, target, who="ann", tracking_uri=versions.store)
    assert (again.counter, again.share, again.changed) == (1, 100, False)
    assert versions.aliases["canary"] == number
    (row,) = fleet.release_list(target, versions.model)
    release, card = row.release, row.card
    assert (release.model, release.version, release.latency_ms, release.opset) == (versions.model, number, 2.0, 20)
    assert wire.release_from(wire.custom_of(release)) == release
    onnx = fleet.store.read(f"targets/{target}/{versions.model}/{row.sha256}.{row.sha256}.onnx") or b""
    pixels = np.frombuffer(card.golden.bytes_of("pixels"), np.uint8).reshape(card.golden.images, 1, 4, 4)
    logits = np.frombuffer(card.golden.bytes_of("logits"), "<f4").reshape(card.golden.images, 3)
    predictions = predict(open_session(onnx), ((pixels / np.float32(255) - 0.5) / 0.2).astype(np.float32))
    assert np.abs(predictions - logits).max() <= card.golden.tolerance
    known = observe_release(target, row, []).reference
    assert known is not None, "the release contains a reference for drift detection"
    assert (known.images, len(known.classes)) == (3, 3)
    stored = fleet.store.list(f"bundles/{release.bundle}")
    assert {name.split("/", 2)[2] for name in stored} >= {"model.onnx", "version.json", "evidence/bundle.json",
                                                          "evidence/golden.npz", "evidence/gates.json"}
    with pytest.raises(FleetError, match="is in progress"):
        publish(fleet, versions.root, target, who="ann", version=versions.add(wrong=set()), tracking_uri=versions.store)


def test_a_champion_is_published_without_new_gates(fleet: Repository, versions: Versions, target: str) -> None:
    number = versions.add(wrong=set())
    promote(versions.root, target, who="ann", why="", version=number, tracking_uri=versions.store)
    done = publish(fleet, versions.root, target, who="ann", version=number, tracking_uri=versions.store)
    assert (done.version, done.changed, done.live) == (number, True, True)


def test_red_gates_changed_files_or_missing_golden_vectors_prevent_a_publication(
    fleet: Repository, versions: Versions, target: str
) -> None:
    red = versions.add()  # without predictions
    with pytest.raises(PromotionRefusal, match="is not released"):
        publish(fleet, versions.root, target, who="ann", version=red, tracking_uri=versions.store)
    changed = versions.add(wrong=set())
    with versions.stored(changed, "model.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(PromotionRefusal, match="model_file"):
        publish(fleet, versions.root, target, who="ann", version=changed, tracking_uri=versions.store)
    old = Versions(versions.root, versions.store, versions.published, target)
    old.created, old.golden = versions.created, False
    number = old.add(wrong=set())
    with pytest.raises(FleetError, match="no golden vectors"):
        publish(fleet, versions.root, target, who="ann", version=number, tracking_uri=versions.store)
    assert fleet.release_list(target, versions.model) == ()
    assert [entry.kind for entry in fleet.journal.entries()] == ["init"]
