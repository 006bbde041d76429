"""Drift of the fleet: what is compared, what is written, and that Prefect's server schedules a retraining for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun

from edge_agent.drift import Sums
from edge_agent.wire import Report
from flows import automations
from flows.drift import drift, expected, page, watch
from flows.serve import FILE, deployments
from nas_pipeline.core.files import read_json, write_json
from nas_pipeline.data.shards import Split, write_shard
from nas_pipeline.errors import ConfigError, NasError
from nas_pipeline.export.val_predictions import ValPredictions, write_val_predictions
from nas_pipeline.fleet.drift import Bounds
from tests.unit.registry.toy_artifacts import write_artifacts

REPO = Path(__file__).resolve().parents[3]
IMAGES = 1200


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A workspace with a validation split and the answers of one exported file to it."""
    write_artifacts(tmp_path)
    noise = np.random.default_rng(0)
    images = noise.integers(0, 200, (IMAGES, 4, 4, 1), dtype=np.uint8)
    labels = np.arange(IMAGES) % 3
    folder = tmp_path / "artifacts" / "ingest"
    manifest = read_json(folder / "dataset.json")
    manifest["notes"]["shards"] = {"val": write_shard(folder, "val", Split(images, labels))}
    write_json(folder / "dataset.json", manifest)
    write_val_predictions(tmp_path / "artifacts" / "export" / "local-cpu", ValPredictions(
        labels, labels, noise.uniform(0.5, 1, IMAGES).astype(np.float32), np.empty(0, np.int64),
        np.empty((0, 4, 4, 1), np.uint8)))
    return tmp_path


def the_same(root: Path) -> Sums:
    return expected(root, root / "artifacts" / "export" / "local-cpu")


def another(root: Path) -> Sums:
    """As if all were dark."""
    found = the_same(root)
    return {**found, "mean": [found["images"], *[0] * 15]}


class Reports:
    """What one device said."""

    def __init__(self, sums: Sums) -> None:
        self._sums = sums

    def __call__(self, root: Path, family: str) -> Iterable[Report]:
        yield Report(1, "dev-1", family, f"toy-set--{family}", 1, "2026-11-24T00:00:00Z", "0.1.0", {}, 4, "",
                     "current", "", "", {}, {}, (), self._sums)


def test_no_drift_is_written_down_and_nothing_follows(exported: Path, prefect_server: str) -> None:
    (verdict,) = watch(exported, Reports(the_same(exported)), Bounds())
    assert (verdict.family, verdict.counter, verdict.images, verdict.crossed) == ("local-cpu", 4, IMAGES, ())
    (written,) = read_json(exported / "reports" / "drift.json")
    assert written == json.loads(json.dumps(verdict.to_json()))
    assert written["figures"]["mean"]["psi"] == 0


def test_without_artefacts_or_reports(tmp_path: Path, exported: Path, prefect_server: str) -> None:
    assert watch(exported, lambda root, family: [], Bounds()) == []
    said = Reports(the_same(exported))
    (exported / "artifacts" / "ingest" / "val.npz").unlink()
    with pytest.raises(NasError, match="run the ingest stage"):
        watch(exported, said, Bounds())


def test_drift_starts_a_retraining(exported: Path, prefect_server: str) -> None:
    """Event -> automation -> a run of the weekly deployment is scheduled, once, on a real server."""
    with pytest.raises(ConfigError, match="no deployment 'scheduled/absent'"):
        automations.retrain_on_drift("scheduled/absent")
    weekly = next(each for each in deployments(REPO / FILE) if each.name == "weekly")
    weekly.schedules = []
    identity = weekly.apply()
    made = automations.retrain_on_drift(once_in=timedelta(minutes=5))
    assert automations.retrain_on_drift(once_in=timedelta(minutes=5)) == made

    (verdict,) = watch(exported, Reports(another(exported)), Bounds())
    assert verdict.crossed == ("mean",)
    assert "| mean |" in page([verdict])
    assert page([verdict]).count("| yes |") == 1
    runs = wait_for_runs(identity)
    assert len(runs) == 1
    assert runs[0].parameters["profile"] == "default"
    assert runs[0].created_by is not None
    watch(exported, Reports(another(exported)), Bounds())  # the next day
    time.sleep(2)
    assert len(asyncio.run(runs_of(identity))) == 1


def wait_for_runs(deployment: Any) -> list[FlowRun]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if found := asyncio.run(runs_of(deployment)):
            return found
        time.sleep(0.5)
    return []


async def runs_of(deployment: Any) -> list[FlowRun]:
    async with get_client() as client:
        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
        return await client.read_flow_runs(flow_run_filter=wanted)


def test_a_switched_off_automation_stays_so(prefect_server: str) -> None:
    weekly = next(each for each in deployments(REPO / FILE) if each.name == "weekly")
    weekly.schedules = []
    weekly.apply()
    made = automations.retrain_on_drift()

    async def switched(off: bool) -> bool:
        async with get_client() as client:
            if off:
                await client.pause_automation(made)
            found = await client.read_automation(made)
            assert found is not None
            return found.enabled

    asyncio.run(switched(True))
    assert automations.retrain_on_drift() == made
    assert not asyncio.run(switched(False))


def test_the_flow_outside_a_repository_fails_in_words(prefect_server: str, tmp_path: Path) -> None:
    state = drift(repo=str(tmp_path), return_state=True)
    assert state.is_failed()
    assert "git" in str(state.message)
