"""A roll-out on a real repository with real signed reports: widened to the end, or stopped and brought back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.rollout.advance import Step, advance, rules_of
from nas_pipeline.fleet.rollout.page import write_page
from nas_pipeline.fleet.rollout.reconcile import wanted, withdrawn
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

    def step(self, hours: float = 1) -> Step:
        self.fleet.clock.forward(hours=hours)  # type: ignore[attr-defined]  # a test's clock
        done = advance(self.fleet, self.intake, TARGET, MODEL)
        assert done is not None
        return done

    def report(self, content: bytes, bad: int = 0) -> None:
        """Every device that the newest release admits tells of it; the first `bad` that it failed."""
        top = self.fleet.release_list(TARGET, MODEL)[0].release
        for device in [each for each in self.devices if top.wave.admits(each.name)]:
            bad -= 1
            about = {"counter": top.counter, "sha256": hashlib.sha256(content).hexdigest()}
            more = {"event": "quarantined", "code": "too_slow", "sha256": "", "counter": 0} if bad >= 0 else {
                "sha256": about["sha256"], "counter": top.counter}
            answer = self.intake.take(device.says(model=MODEL, about=about, **more))
            assert answer.taken, answer


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.intake.close()


def shares(fleet: Repository) -> list[tuple[int, int]]:
    return [(row.release.counter, row.release.wave.share) for row in fleet.release_list(TARGET, MODEL)]


def test_widened_to_the_end(site: Site) -> None:
    assert advance(site.fleet, site.intake, TARGET, MODEL) is None
    site.publish(b"one")
    site.report(b"one")
    assert isinstance(site.step().decision, Finished)
    site.publish(b"two", share=5000)
    assert isinstance(site.step().decision, Wait), "nobody has said anything"
    site.report(b"two")
    assert isinstance(site.step(0).decision, Widen)
    assert shares(site.fleet) == [(2, 10_000)]
    assert isinstance(site.step(0).decision, Wait)
    site.report(b"two")
    assert isinstance(site.step().decision, Finished)
    kinds = [(entry.kind, entry.who) for entry in site.fleet.journal.entries() if entry.model]
    assert kinds == [("published", "alice"), ("published", "alice"), ("widened", "rollout")]


def test_stopped_and_brought_back(site: Site) -> None:
    site.publish(b"one")
    site.publish(b"two", share=5000)
    site.report(b"two", bad=2)
    step = site.step(0)
    assert isinstance(step.decision, Stop)
    assert step.done == "release 3, version 1, for everyone"
    rows = site.fleet.release_list(TARGET, MODEL)
    assert [(row.release.counter, row.release.version, row.whole) for row in rows] == [(3, "1", True)]
    goal = wanted(MODEL, rows, site.fleet.journal.entries())
    assert (goal.champion, goal.canary, list(goal.withdrawn)) == ("1", "", ["2"])
    site.report(b"two", bad=0)  # one that could not be reached comes late, and is not heard
    assert isinstance(site.step().decision, Wait)
    assert shares(site.fleet) == [(3, 10_000)], "a stop is final"


def test_what_was_brought_back_is_not_stopped_again(site: Site) -> None:
    site.publish(b"one")
    site.publish(b"two", share=5000)
    site.report(b"two", bad=3)
    site.step(0)
    site.report(b"one", bad=DEVICES)
    step = site.step()
    assert (isinstance(step.decision, Stop), step.done) == (True, "")
    assert shares(site.fleet) == [(3, 10_000)]


def test_a_first_release_that_fails_is_taken_away(site: Site) -> None:
    site.publish(b"one", share=5000)
    site.report(b"one", bad=5)
    assert site.step(0).done == "taken away; there is none to go back to"
    assert shares(site.fleet) == []
    assert advance(site.fleet, site.intake, TARGET, MODEL) is None
    assert list(withdrawn(site.fleet.journal.entries(), MODEL)) == ["1"]


def test_a_release_that_everyone_has_goes_back_too(site: Site) -> None:
    site.publish(b"one")
    site.publish(b"two")
    site.report(b"two", bad=4)
    assert site.step(0).done == "release 3, version 1, for everyone"


def test_a_rule_that_does_not_exist_is_named(tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, rollout={"eror_share": 0.1})
    with pytest.raises(FleetError, match=r"eror_share.*the rules are: error_share, min_reports"):
        rules_of(fleet.settings)


def test_the_page_escapes_what_devices_say(site: Site, tmp_path: Path) -> None:
    site.publish(b"one")
    site.publish(b"two", share=5000)
    evil = "</td><script>alert('x')</script>{{ 7*7 }}"
    site.report(b"two", bad=1)
    site.intake.take(site.devices[0].says("failed", model=MODEL, detail=evil, agent=evil, code="crashed", time=evil,
                                          quarantine=("d" * 64,)))
    text = write_page(tmp_path / "reports" / "fleet.html", site.fleet, site.intake).read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert" in text
    assert "49" not in text.partition("alert")[2][:40]
    assert "http" not in text.replace("http-equiv", "")
    assert "dddddddddddd" in text
    assert "its clock says" in text
    assert "default-src" in text


def test_the_page_of_an_empty_fleet(site: Site, tmp_path: Path) -> None:
    text = write_page(tmp_path / "fleet.html", site.fleet, site.intake).read_text()
    assert "Nothing was published yet." in text


def test_a_change_that_waits_for_its_approver_is_not_overtaken(tmp_path: Path) -> None:
    site = Site(tmp_path, approval=True)
    site.publish(b"one")
    site.fleet.approve(TARGET, "bob")
    site.publish(b"two", share=5000)
    site.fleet.approve(TARGET, "bob")
    site.report(b"two")
    assert site.step(2).done.endswith("(waits for the approver)")
    step = site.step()
    assert (step.done, "waits for the approver" in step.decision.reason) == ("", True)
    site.fleet.approve(TARGET, "bob")
    assert shares(site.fleet) == [(2, 10_000)]
    site.intake.close()


