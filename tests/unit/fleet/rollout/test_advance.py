"""A roll-out on a real repository with real signed reports: widened to the last wave, or stopped and rolled back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas_pipeline.errors import FleetError, KeysUnavailable, NoEarlierRelease
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.rollout.advance import RolloutStep, advance, rollout_rules
from nas_pipeline.fleet.rollout.page import write_page
from nas_pipeline.fleet.rollout.reconcile import target_aliases, withdrawn_versions
from nas_pipeline.fleet.rollout.state_machine import Finished, Stop, Wait, Widen
from nas_pipeline.fleet.tuf.repository import Repository
from tests.unit.fleet.toy_device import ToyDevice
from tests.unit.fleet.toy_releases import MODEL, TARGET, new_fleet, publish

DEVICES = 24
RULES = {"success_share": 0.75, "min_hours": 1.0, "min_reports": 2}


class Site:
    def __init__(self, folder: Path, **more: Any) -> None:
        self.fleet = new_fleet(folder, rollout=RULES, **more)
        self.intake = Intake(folder / "reports.db", clock=self.fleet.clock)
        self.devices = [ToyDevice(f"pi-{number}") for number in range(DEVICES)]
        for device in self.devices:
            self.intake.enrol(device.enrolment)

    def publish(self, content: bytes, share: int = 10_000) -> None:
        publish(self.fleet, content, share=share, when=self.fleet.clock().strftime("%Y-%m-%dT%H:%M:%SZ"))

    def step(self, hours: float = 1) -> RolloutStep:
        self.fleet.clock.forward(hours=hours)  # type: ignore[attr-defined]  # a test's clock
        done = advance(self.fleet, self.intake, TARGET, MODEL)
        assert done is not None
        return done

    def report(self, content: bytes, bad: int = 0) -> None:
        """Every device that the newest release admits reports it; the first `bad` report a failure."""
        top = self.fleet.release_list(TARGET, MODEL)[0].release
        for device in [member for member in self.devices if top.wave.admits(member.name)]:
            bad -= 1
            about = {"counter": top.counter, "sha256": hashlib.sha256(content).hexdigest()}
            more = {"event": "quarantined", "code": "too_slow", "sha256": "", "counter": 0} if bad >= 0 else {
                "sha256": about["sha256"], "counter": top.counter}
            answer = self.intake.accept(device.says(model=MODEL, about=about, **more))
            assert answer.accepted, answer


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    new = Site(tmp_path)
    yield new
    new.intake.close()


def signed(step: RolloutStep) -> tuple[str, int, str, bool]:
    """Kind of the change, counter and version that are offered after it, and whether it is live."""
    change = step.change
    assert change is not None
    release = change.now.release if change.now is not None else None
    assert change.now is None or change.kind == "widened" or change.now.whole
    return change.kind, release.counter if release else 0, release.version if release else "", change.live


def shares(fleet: Repository) -> list[tuple[int, int]]:
    return [(row.release.counter, row.release.wave.share) for row in fleet.release_list(TARGET, MODEL)]


def test_widened_to_the_end(site: Site) -> None:
    assert advance(site.fleet, site.intake, TARGET, MODEL) is None
    site.publish(b"one")
    site.report(b"one")
    assert isinstance(site.step().decision, Finished)
    site.publish(b"two", share=5000)
    assert isinstance(site.step().decision, Wait), "no device has reported"
    site.report(b"two")
    assert isinstance(site.step(0).decision, Widen)
    assert shares(site.fleet) == [(2, 10_000)]
    assert isinstance(site.step(0).decision, Wait)
    site.report(b"two")
    assert isinstance(site.step().decision, Finished)
    kinds = [(entry.kind, entry.who) for entry in site.fleet.journal.entries() if entry.model]
    assert kinds == [("published", "alice"), ("published", "alice"), ("widened", "rollout")]


def test_stopped_and_rolled_back(site: Site) -> None:
    site.publish(b"one")
    site.publish(b"two", share=5000)
    site.report(b"two", bad=2)
    step = site.step(0)
    assert isinstance(step.decision, Stop)
    assert signed(step) == ("rolled back", 3, "1", True)
    rows = site.fleet.release_list(TARGET, MODEL)
    assert [(row.release.counter, row.release.version, row.whole) for row in rows] == [(3, "1", True)]
    goal = target_aliases(MODEL, rows, site.fleet.journal.entries())
    assert (goal.champion, goal.canary, list(goal.withdrawn)) == ("1", "", ["2"])
    site.report(b"two", bad=0)  # a late report of a device that was offline is ignored
    assert isinstance(site.step().decision, Wait)
    assert shares(site.fleet) == [(3, 10_000)], "a stop is final"


def test_a_rollback_is_not_rolled_back_again(site: Site) -> None:
    site.publish(b"one")
    site.publish(b"two", share=5000)
    site.report(b"two", bad=3)
    site.step(0)
    site.report(b"one", bad=DEVICES)
    step = site.step()
    assert (isinstance(step.decision, Stop), step.change) == (True, None)
    assert shares(site.fleet) == [(3, 10_000)]


def test_a_first_release_that_fails_is_withdrawn(site: Site) -> None:
    site.publish(b"one", share=5000)
    site.report(b"one", bad=5)
    assert signed(site.step(0)) == ("withdrawn", 0, "", True)
    assert shares(site.fleet) == []
    assert advance(site.fleet, site.intake, TARGET, MODEL) is None
    assert list(withdrawn_versions(site.fleet.journal.entries(), MODEL)) == ["1"]


def test_a_release_that_every_device_has_is_rolled_back_too(site: Site) -> None:
    site.publish(b"one")
    site.publish(b"two")
    site.report(b"two", bad=4)
    assert signed(site.step(0)) == ("rolled back", 3, "1", True)


def test_a_rule_that_does_not_exist_is_named(tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, rollout={"eror_share": 0.1})
    with pytest.raises(FleetError, match=r"eror_share.*the rules are: error_share, min_reports"):
        rollout_rules(fleet.settings)


def test_the_page_escapes_values_from_devices(site: Site, tmp_path: Path) -> None:
    site.publish(b"one")
    site.publish(b"two", share=5000)
    evil = "</td><script>alert('x')</script>{{ 7*7 }}"
    site.report(b"two", bad=1)
    site.intake.accept(site.devices[0].says("failed", model=MODEL, detail=evil, agent=evil, code="crashed", time=evil,
                                          quarantine=("d" * 64,)))
    text = write_page(tmp_path / "reports" / "fleet.html", site.fleet, site.intake).read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert" in text
    assert "49" not in text.partition("alert")[2][:40]
    assert "http" not in text.replace("http-equiv", "")
    assert "dddddddddddd" in text
    assert "device clock" in text
    assert "default-src" in text


def test_the_page_of_an_empty_fleet(site: Site, tmp_path: Path) -> None:
    text = write_page(tmp_path / "fleet.html", site.fleet, site.intake).read_text()
    assert "Nothing has been published yet." in text


def test_no_decision_while_a_change_waits_for_its_approver(tmp_path: Path) -> None:
    site = Site(tmp_path, approval=True)
    site.publish(b"one")
    site.fleet.approve(TARGET, "bob")
    site.publish(b"two", share=5000)
    site.fleet.approve(TARGET, "bob")
    site.report(b"two")
    assert signed(site.step(2)) == ("widened", 2, "2", False)
    step = site.step()
    assert (step.change, "waits for the approver" in step.decision.reason) == (None, True)
    site.fleet.approve(TARGET, "bob")
    assert shares(site.fleet) == [(2, 10_000)]
    site.intake.close()




def move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def test_a_stop_without_keys_is_an_error_and_changes_nothing(site: Site, tmp_path: Path) -> None:
    site.publish(b"one")
    site.publish(b"two", share=5000)
    site.report(b"two", bad=4)
    before = site.fleet.journal.lines()
    move(tmp_path / "fleet" / "keys", tmp_path / "stick")
    with pytest.raises(KeysUnavailable, match=rf"{MODEL} release 2 must be stopped.*{TARGET}-1.pem"):
        site.step(0)
    assert shares(site.fleet) == [(2, 5000), (1, 10_000)]
    assert site.fleet.journal.lines() == before
    move(tmp_path / "stick", tmp_path / "fleet" / "keys")
    assert signed(site.step(0)) == ("rolled back", 3, "1", True)


def test_a_widening_without_the_key_of_the_snapshot_is_an_error(site: Site, tmp_path: Path) -> None:
    site.publish(b"one")
    site.publish(b"two", share=5000)
    site.report(b"two")
    key = tmp_path / "fleet" / "keys" / "snapshot-1.pem"
    move(key, tmp_path / "stick" / key.name)
    with pytest.raises(KeysUnavailable, match=r"must be widened.*snapshot-1.pem"):
        site.step()
    assert shares(site.fleet) == [(2, 5000), (1, 10_000)]
    move(tmp_path / "stick" / key.name, key)
    assert signed(site.step(0)) == ("widened", 2, "2", True)


def test_a_stop_whose_earlier_list_is_lost_is_an_error(site: Site, tmp_path: Path) -> None:
    site.publish(b"one")
    site.publish(b"two")
    site.report(b"two", bad=DEVICES)
    for path in (tmp_path / "fleet" / "metadata").glob(f"*.{TARGET}.json"):
        path.unlink()
    with pytest.raises(FleetError, match="publish version 1 again") as caught:
        site.step(0)
    assert not isinstance(caught.value, NoEarlierRelease)
    assert shares(site.fleet) == [(2, 10_000)]
