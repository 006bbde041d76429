"""Drift against a real server: the event is sent once, the automation answers with a run of the deployment."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.automations import AutomationCore
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State

from flows import automations
from flows.drift import DRIFTED, FILE, announce, drift, look
from flows.serve import FILE as YAML
from flows.serve import deployments
from nas_pipeline.actions.fleet import settings_of
from nas_pipeline.config.params import load_params
from nas_pipeline.errors import ConfigError
from nas_pipeline.fleet.drift_sums import EVIDENCE, DriftSums
from nas_pipeline.fleet.reports.drift import DriftRules, Watched, judge
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.tuf.create_fleet import found
from nas_pipeline.fleet.tuf.releases import ReleaseEntry
from tests.unit.fleet.toy_device import ToyDevice
from tests.unit.fleet.toy_releases import entry_of, row_of
from tests.unit.flows.toy_repository import REPO, write_repository

KNOWN = DriftSums(1000, (500, 500), (0,) * 9 + (1000,), (0,) * 8 + (1000,) + (0,) * 7, (0,) * 8 + (1000,) + (0,) * 7)
DARK = replace(KNOWN, mean=(0,) * 4 + (1000,) + (0,) * 11)
SEEN = Watched("pi", "toy--pi", "3", 7, KNOWN, KNOWN, 2, 0.5, 0)
RETRAINING = "scheduled/weekly"


@flow(name="look", persist_result=False)
def looked(root: str, releases: list[Any]) -> State[Any]:
    return look(Path(root), releases, DriftRules())


def within(seconds: float, found: Callable[[], list[Any]]) -> list[Any]:
    end = time.monotonic() + seconds
    while not (rows := found()) and time.monotonic() < end:
        time.sleep(0.2)
    return rows


def events(client: SyncPrefectClient) -> list[Any]:
    """Oldest first; the server writes them down every five seconds."""
    found = client.request("POST", "/events/filter", json={"limit": 50}).json()["events"]
    return [row for row in reversed(found) if row["resource"]["prefect.resource.id"] == "nas.model.crossing--pi"]


def test_a_bound_is_crossed_once(tmp_path: Path, prefect_server: str, caplog: pytest.LogCaptureFixture) -> None:
    calm = replace(SEEN, model="crossing--pi")
    drifted, few = replace(calm, seen=DARK), replace(SEEN, model="new--pi", seen=None, devices=0)
    state = looked(str(tmp_path), [calm, few], return_state=True)
    assert (state.name, state.message) == ("Completed", "2 looked at, 0 red")
    for _ in range(2):  # red yesterday, red today: one event
        state = looked(str(tmp_path), [drifted, few], return_state=True)
        assert (state.name, state.message) == (DRIFTED, "2 looked at, 1 red; crossing--pi")
        assert state.is_completed()
    kept = json.loads((tmp_path / FILE).read_text())["models"]
    assert [(row["model"], row["state"], row["images"]) for row in kept] == [
        ("crossing--pi", "red", 1000), ("new--pi", "too few images", 0)
    ]
    looked(str(tmp_path), [replace(drifted, counter=8)])  # the next release has drifted too
    with get_client(sync_client=True) as client:
        first, second = within(15, lambda: events(client)[:3] if len(events(client)) > 1 else [])
        assert first["event"] == automations.CROSSED
        assert [each["resource"]["nas.counter"] for each in (first, second)] == ["7", "8"]
        assert set(first["payload"]["crossed"]) == {"psi mean", "ks mean"}
        notes = client.request("POST", "/artifacts/filter", json={"artifacts": {"key": {"any_": ["drift"]}}}).json()
    assert any("psi mean" in note["data"] and "| red |" in note["data"] for note in notes)
    (tmp_path / FILE).write_text("half a file")
    with caplog.at_level(logging.WARNING):
        assert looked(str(tmp_path), [], return_state=True).is_completed()
    assert "is told again" in caplog.text


def test_a_repository_without_a_fleet_has_nothing_to_look_at(tmp_path: Path, prefect_server: str) -> None:
    repo = write_repository(tmp_path / "repo")
    state = drift(repo=str(repo), return_state=True)
    assert (state.name, state.message) == ("Completed", "0 looked at, 0 red")
    assert drift(repo=str(repo), psi=-1, return_state=True).is_failed()


def test_from_signed_releases_and_signed_reports(tmp_path: Path, prefect_server: str) -> None:
    """The whole way: a release with its reference, two devices that report, the flow of the deployment."""
    repo = write_repository(tmp_path / "repo")
    (repo / "params.yaml").write_text((REPO / "params.yaml").read_text())
    settings = settings_of(repo, load_params(repo))
    target, model = settings.target_names[0], f"toy--{settings.target_names[0]}"
    fleet = found(settings, who="alice").repository
    plain = row_of(b"a model", 1, target=target, model=model)
    row = ReleaseEntry(plain.release, replace(plain.card, evidence={EVIDENCE: KNOWN.to_json()}))
    fleet.release(target, model, (row,), files={row.card.onnx: b"a model"}, entry=entry_of(row))
    assert drift(repo=str(repo), return_state=True).message == "1 looked at, 0 red", "nobody has told"

    intake = Intake(repo / "fleet" / "reports.db")
    common = {"model": model, "counter": 1, "sha256": row.sha256}
    for name, told in (("d1", KNOWN), ("d2", DARK)):
        device = ToyDevice(name, target)
        intake.enrol(device.enrolment)
        assert intake.take(device.says("installed", **common, drift=DARK.to_json())).taken
        assert intake.take(device.says("current", **common, drift=told.to_json())).taken
    intake.close()
    state = drift(repo=str(repo), return_state=True)
    assert (state.name, state.message) == (DRIFTED, f"1 looked at, 1 red; {model}")
    (kept,) = json.loads((repo / FILE).read_text())["models"]
    assert (kept["images"], kept["devices"], kept["largest_share"]) == (2000, 2, 0.5)
    assert {each["name"] for each in kept["figures"] if each["red"]} == {"psi mean", "ks mean"}
    assert drift(repo=str(repo), min_images=2001, return_state=True).message == "1 looked at, 0 red"


def runs_of(client: SyncPrefectClient, deployment: Any) -> list[FlowRun]:
    found = client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])))
    return [run for run in found if run.created_by and run.created_by.type == "AUTOMATION"]


def test_drift_starts_a_retraining(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Event -> automation -> a run of `weekly`. Prefect's server runs triggers and actions wherever it runs."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    (weekly,) = [each for each in deployments(REPO / YAML) if each.full_name == RETRAINING]
    with get_client(sync_client=True) as client:
        assert automations.main(["--deployment", "scheduled/never"]) == 2
        number = weekly.apply()
        assert [automations.ensure_automation(), automations.ensure_automation()] == ["created", "unchanged"]
        (made,) = client.read_automations_by_name(automations.NAME)
        announce(judge(replace(SEEN, seen=DARK), DriftRules()))
        (run,) = within(20, lambda: runs_of(client, number))
        assert run.state is not None
        assert run.state.is_scheduled()
        assert run.parameters["profile"] == "default"

        announce(judge(replace(SEEN, seen=DARK, model="other--pi"), DriftRules()))
        time.sleep(2)
        assert len(runs_of(client, number)) == 1, "two models in one week are one retraining"

        client.pause_automation(made.id)
        client.update_automation(made.id, changed(made))
        assert automations.ensure_automation() == "changed"
        (after,) = client.read_automations_by_name(automations.NAME)
        assert (after.id, after.enabled, after.description) == (made.id, False, made.description)
        client.create_automation(changed(made))
        assert automations.main([]) == 0
        assert len(client.read_automations_by_name(automations.NAME)) == 1


def changed(made: Any) -> AutomationCore:
    return AutomationCore(
        name=made.name, description="by hand", enabled=False, trigger=made.trigger, actions=made.actions
    )


def test_without_a_server_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert automations.main([]) == 2
    assert "PREFECT_API_URL is not set" in capsys.readouterr().out


@pytest.mark.usefixtures("prefect_server")
def test_a_deployment_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no deployment 'scheduled/never'"):
        automations.ensure_automation("scheduled/never")
