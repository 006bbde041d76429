"""Drift on a real server: the event is sent once, and the automation starts a run of the deployment."""

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
from flows.drift import DRIFTED, FILE, check_releases, drift, send_drift_event
from flows.serve import FILE as YAML
from flows.serve import deployments
from nas_pipeline.actions.fleet import fleet_settings
from nas_pipeline.config.params import load_params
from nas_pipeline.errors import ConfigError
from nas_pipeline.fleet.drift_sums import EVIDENCE, DriftSums
from nas_pipeline.fleet.reports.drift import DriftRules, ObservedRelease, evaluate_drift
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.tuf.create_fleet import create_fleet
from nas_pipeline.fleet.tuf.releases import ReleaseEntry
from tests.unit.fleet.toy_device import ToyDevice
from tests.unit.fleet.toy_releases import entry_of, row_of, sign_list
from tests.unit.flows.toy_repository import REPO, write_repository

KNOWN = DriftSums(1000, (500, 500), (0,) * 9 + (1000,), (0,) * 8 + (1000,) + (0,) * 7, (0,) * 8 + (1000,) + (0,) * 7)
DARK = replace(KNOWN, mean=(0,) * 4 + (1000,) + (0,) * 11)
SEEN = ObservedRelease("pi", "toy--pi", "3", 7, KNOWN, KNOWN, 2, 0.5, 0)
RETRAINING = "scheduled/weekly"


@flow(name="check_releases", persist_result=False)
def check_flow(root: str, releases: list[Any]) -> State[Any]:
    return check_releases(Path(root), releases, DriftRules())


def within(seconds: float, query: Callable[[], list[Any]]) -> list[Any]:
    end = time.monotonic() + seconds
    while not (rows := query()) and time.monotonic() < end:
        time.sleep(0.2)
    return rows


def events(client: SyncPrefectClient) -> list[Any]:
    """Oldest first; the server stores events every five seconds."""
    stored = client.request("POST", "/events/filter", json={"limit": 50}).json()["events"]
    return [row for row in reversed(stored) if row["resource"]["prefect.resource.id"] == "nas.model.crossing--pi"]


def test_a_bound_is_crossed_once(tmp_path: Path, prefect_server: str, caplog: pytest.LogCaptureFixture) -> None:
    calm = replace(SEEN, model="crossing--pi")
    drifted, few = replace(calm, seen=DARK), replace(SEEN, model="new--pi", seen=None, devices=0)
    state = check_flow(str(tmp_path), [calm, few], return_state=True)
    assert (state.name, state.message) == ("Completed", "2 releases checked, 0 red")
    for _ in range(2):  # red yesterday, red today: one event
        state = check_flow(str(tmp_path), [drifted, few], return_state=True)
        assert (state.name, state.message) == (DRIFTED, "2 releases checked, 1 red; crossing--pi")
        assert state.is_completed()
    models = json.loads((tmp_path / FILE).read_text())["models"]
    assert [(row["model"], row["state"], row["images"]) for row in models] == [
        ("crossing--pi", "red", 1000), ("new--pi", "too few images", 0)
    ]
    check_flow(str(tmp_path), [replace(drifted, counter=8)])  # the next release has drifted too
    with get_client(sync_client=True) as client:
        first, second = within(15, lambda: events(client)[:3] if len(events(client)) > 1 else [])
        assert first["event"] == automations.CROSSED
        assert [event["resource"]["nas.counter"] for event in (first, second)] == ["7", "8"]
        assert set(first["payload"]["crossed"]) == {"psi mean", "ks mean"}
        notes = client.request("POST", "/artifacts/filter", json={"artifacts": {"key": {"any_": ["drift"]}}}).json()
    assert any("psi mean" in note["data"] and "| red |" in note["data"] for note in notes)
    (tmp_path / FILE).write_text("half a file")
    with caplog.at_level(logging.WARNING):
        assert check_flow(str(tmp_path), [], return_state=True).is_completed()
    assert "are sent again" in caplog.text


def test_a_repository_without_a_fleet_has_nothing_to_check(tmp_path: Path, prefect_server: str) -> None:
    repo = write_repository(tmp_path / "repo")
    state = drift(repo=str(repo), return_state=True)
    assert (state.name, state.message) == ("Completed", "0 releases checked, 0 red")
    assert drift(repo=str(repo), psi=-1, return_state=True).is_failed()


def test_from_signed_releases_and_signed_reports(tmp_path: Path, prefect_server: str) -> None:
    """End to end: a release with its reference, two devices that report, and the flow."""
    repo = write_repository(tmp_path / "repo")
    (repo / "params.yaml").write_text((REPO / "params.yaml").read_text())
    settings = fleet_settings(repo, load_params(repo))
    target, model = settings.target_names[0], f"toy--{settings.target_names[0]}"
    fleet = create_fleet(settings, who="alice").repository
    plain = row_of(b"a model", 1, target=target, model=model)
    row = ReleaseEntry(plain.release, replace(plain.card, evidence={EVIDENCE: KNOWN.to_json()}))
    sign_list(fleet, target, model, (row,), files={row.card.onnx: b"a model"}, entry=entry_of(row))
    assert drift(repo=str(repo), return_state=True).message == "1 releases checked, 0 red", "no device has reported"

    intake = Intake(repo / "fleet" / "reports.db")
    fields = {"model": model, "counter": 1, "sha256": row.sha256}
    for name, drift_sums in (("d1", KNOWN), ("d2", DARK)):
        device = ToyDevice(name, target)
        intake.enrol(device.enrolment)
        assert intake.accept(device.says("installed", **fields, drift=DARK.to_json())).accepted
        assert intake.accept(device.says("current", **fields, drift=drift_sums.to_json())).accepted
    intake.close()
    state = drift(repo=str(repo), return_state=True)
    assert (state.name, state.message) == (DRIFTED, f"1 releases checked, 1 red; {model}")
    (written,) = json.loads((repo / FILE).read_text())["models"]
    assert (written["images"], written["devices"], written["largest_share"]) == (2000, 2, 0.5)
    assert {row["name"] for row in written["figures"] if row["red"]} == {"psi mean", "ks mean"}
    assert drift(repo=str(repo), min_images=2001, return_state=True).message == "1 releases checked, 0 red"


def runs_of(client: SyncPrefectClient, deployment: Any) -> list[FlowRun]:
    runs = client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])))
    return [run for run in runs if run.created_by and run.created_by.type == "AUTOMATION"]


def test_drift_starts_a_retraining(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Event -> automation -> a run of `weekly`. Prefect's server runs the triggers and actions."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    (weekly,) = [item for item in deployments(REPO / YAML) if item.full_name == RETRAINING]
    with get_client(sync_client=True) as client:
        assert automations.main(["--deployment", "scheduled/never"]) == 2
        number = weekly.apply()
        assert [automations.ensure_automation(), automations.ensure_automation()] == ["created", "unchanged"]
        (automation,) = client.read_automations_by_name(automations.NAME)
        send_drift_event(evaluate_drift(replace(SEEN, seen=DARK), DriftRules()))
        (run,) = within(20, lambda: runs_of(client, number))
        assert run.state is not None
        assert run.state.is_scheduled()
        assert run.parameters["profile"] == "default"

        send_drift_event(evaluate_drift(replace(SEEN, seen=DARK, model="other--pi"), DriftRules()))
        time.sleep(2)
        assert len(runs_of(client, number)) == 1, "two models in one week are one retraining"

        client.pause_automation(automation.id)
        client.update_automation(automation.id, changed(automation))
        assert automations.ensure_automation() == "changed"
        (after,) = client.read_automations_by_name(automations.NAME)
        assert (after.id, after.enabled, after.description) == (automation.id, False, automation.description)
        client.create_automation(changed(automation))
        assert automations.main([]) == 0
        assert len(client.read_automations_by_name(automations.NAME)) == 1


def changed(automation: Any) -> AutomationCore:
    return AutomationCore(
        name=automation.name, description="by hand", enabled=False, trigger=automation.trigger,
        actions=automation.actions,
    )


def test_without_a_server_the_command_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert automations.main([]) == 2
    assert "PREFECT_API_URL is not set" in capsys.readouterr().out


@pytest.mark.usefixtures("prefect_server")
def test_a_deployment_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no deployment 'scheduled/never'"):
        automations.ensure_automation("scheduled/never")
