"""A hundred devices and a fleet that ships them a model of which some fall ill. Real agents, real HTTP on loopback.

The agents run one after the other in this process, each with a state folder, a key and a configuration of its own; the
repository is the product's, reports go through the product's receiver, and decisions are those of the roll-out.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.agent import Agent, UpdateOutcome
from edge_agent.contract import wire
from edge_agent.slots import Slots
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.reports.receiver import server
from nas_pipeline.fleet.reports.signed import Enrolment
from nas_pipeline.fleet.rollout.advance import RolloutStep, advance
from nas_pipeline.fleet.rollout.state_machine import Stop, Widen
from nas_pipeline.fleet.tuf.create_fleet import create_fleet
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, added, next_counter
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.settings import FleetSettings
from tests.security.device import in_use
from tests.security.tuf_repository import MODEL, TARGET, row, tiny_onnx
from tests.security.web import serving
from tests.unit.fleet.toy_releases import sign_list

pytestmark = pytest.mark.slow

DEVICES, AWAY_DAYS = 100, 30
SHARES = (500, 2500, wire.WHOLE)
"""Waves of the new release: 5 %, 25 %, everyone."""
ILL_SHARE, ERROR_SHARE = 0.08, 0.05
OUT_OF_ORDER = "probation_child"


@dataclass
class Clock:
    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Fleet:
    """The publisher, the devices and the web server between them."""

    repository: Repository
    intake: Intake
    clock: Clock
    url: str
    devices: dict[str, Agent] = field(default_factory=dict)
    ill: frozenset[str] = frozenset()

    def publish(self, content: bytes, shares: tuple[int, ...], salt: str = "5a" * 16) -> ReleaseEntry:
        rows = self.repository.release_list(TARGET, MODEL)
        added_row = row(content, next_counter(rows, self.repository.highest_counter(TARGET, MODEL)))
        new = ReleaseEntry(replace(added_row.release, wave=wire.Wave(salt, shares, 0)), added_row.card)
        entry = JournalEntry(kind="published", when=self.clock().strftime("%Y-%m-%dT%H:%M:%SZ"), who="alice",
                      version=new.release.version, counter=new.release.counter, sha256=new.sha256,
                      share=new.release.wave.share)
        sign_list(self.repository, TARGET, MODEL, added(rows, new), files={new.card.onnx: content}, entry=entry)
        return new

    def poll(self, names: set[str], url: str = "") -> dict[str, UpdateOutcome]:
        """Runs one check of each device in `names`."""
        outcomes = {}
        with pytest.MonkeyPatch.context() as patch:
            for name in sorted(names):
                patch.setenv("NAS_AGENT_FAIL_AT", OUT_OF_ORDER if name in self.ill else "")
                outcomes[name] = self.devices[name].once(url)
        return outcomes

    def decide(self) -> RolloutStep:
        self.clock.now += timedelta(hours=2)
        step = advance(self.repository, self.intake, TARGET, MODEL)
        assert step is not None
        return step

    def running(self) -> dict[str, str]:
        """Returns device -> digest in use."""
        slots = {name: Slots(agent.folder).current() for name, agent in self.devices.items()}
        return {name: slot.card.sha256 if slot else "" for name, slot in slots.items()}


def members(release: ReleaseEntry, names: set[str], index: int) -> set[str]:
    wave = replace(release.release.wave, index=index)
    return {name for name in names if wave.admits(name)}


@contextmanager
def receiving(intake: Intake) -> Iterator[str]:
    """Yields the receiver of the product on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = server(intake.accept, "127.0.0.1", port)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started:
            assert thread.is_alive(), "the receiver did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}/reports"
    finally:
        running.should_exit = True
        thread.join()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Yields a fleet of a hundred devices that run release 1."""
    clock = Clock(datetime.now(UTC).replace(microsecond=0))
    settings = FleetSettings(
        store=str(tmp_path / "store"), folder=tmp_path / "fleet", keys=tmp_path / "fleet/keys", target_names=(TARGET,),
        expiry_days={"root": 365, "targets": 90, "releases": 90, "snapshot": 45, "timestamp": 45},
        rollout={"error_share": ERROR_SHARE, "success_share": 0.6, "min_hours": 1.0},
    )
    repository = create_fleet(settings, who="alice", clock=clock).repository
    intake = Intake(tmp_path / "reports.db", clock=clock)
    with serving(tmp_path / "store") as web, receiving(intake) as reports:
        fleet = Fleet(repository, intake, clock, web.url)
        fleet.publish(tiny_onnx(1), (wire.WHOLE,))
        factory = tmp_path / "devices" / "device-000"
        for number in range(DEVICES):
            name = f"device-{number:03d}"
            state = tmp_path / "devices" / name
            settings = config.init(state, tmp_path / "fleet/root.json", None, device=name, target=TARGET, model=MODEL,
                               url=web.url, report=reports, hardware=("toy-board",))
            intake.enrol(Enrolment(device=name, target=TARGET, keyid=settings.key["keyid"], key=settings.key["key"]))
            fleet.devices[name] = Agent(state, clock=lambda: clock.now.timestamp())
            if state == factory:
                outcome = fleet.devices[name].once()
                assert outcome.event == "installed", outcome
            else:  # the factory image contains the model and the state
                shutil.copytree(factory / "slots", state / "slots")
                (state / "current").symlink_to((factory / "current").readlink())
                shutil.copy(factory / "state.json", state / "state.json")
        yield fleet
    intake.close()


def test_a_bad_release_stops_and_everyone_is_back_and_the_absent_get_the_newest(fleet: Fleet, tmp_path: Path) -> None:
    names = set(fleet.devices)
    good, bad = hashlib.sha256(tiny_onnx(1)).hexdigest(), hashlib.sha256(tiny_onnx(2)).hexdigest()
    assert set(fleet.running().values()) == {good}
    release = fleet.publish(tiny_onnx(2), SHARES)
    waves = [members(release, names, index) for index in range(len(SHARES))]
    away = set(sorted(names - waves[1])[: DEVICES // 10])
    here = names - away
    second = sorted(waves[1] - waves[0])
    fleet.ill = frozenset(second[: round(ILL_SHARE * len(waves[1]) + 0.5)])
    assert len(fleet.ill) / len(waves[1]) >= ILL_SHARE

    fleet.poll(here)
    assert {name for name, file in fleet.running().items() if file == bad} == waves[0]
    old_mirror = Path(shutil.copytree(tmp_path / "store", tmp_path / "old-mirror"))
    assert isinstance(fleet.decide().decision, Widen)

    outcomes = fleet.poll(here)
    assert {name for name, each in outcomes.items() if each.event == "failed"} == fleet.ill, [
        outcomes[name] for name in fleet.ill]
    assert {name for name, file in fleet.running().items() if file == bad} == waves[1] - fleet.ill
    step = fleet.decide()
    assert isinstance(step.decision, Stop), step
    assert step.counts.failed == len(fleet.ill)

    (now,) = fleet.repository.release_list(TARGET, MODEL)
    assert (now.sha256, now.whole, now.release.counter) == (good, True, release.release.counter + 1)
    fleet.poll(here)
    assert set(fleet.running().values()) == {good}
    widest = max(entry.share for entry in fleet.repository.journal.entries() if entry.sha256 == bad)
    assert widest == SHARES[1], "the third wave began"

    # A server with an old or a partial state of the repository changes no device.
    before = fleet.running()
    mixed = Path(shutil.copytree(tmp_path / "store", tmp_path / "mixed-mirror"))
    shutil.copy(old_mirror / "metadata/timestamp.json", mixed / "metadata/timestamp.json")
    newest = max((mixed / "metadata").glob("*.snapshot.json"), key=lambda path: int(path.name.partition(".")[0]))
    swapped = Path(shutil.copytree(tmp_path / "store", tmp_path / "swapped-mirror"))
    older = sorted((swapped / "metadata").glob("*.snapshot.json"), key=lambda path: int(path.name.partition(".")[0]))
    shutil.copy(older[-2], swapped / "metadata" / newest.name)
    for mirror, codes in ((old_mirror, {"replayed"}), (mixed, {"replayed"}), (swapped, {"mixed", "tampered", ""})):
        with serving(mirror) as web:
            outcomes = fleet.poll(here, web.url)
        assert {each.code for each in outcomes.values()} <= codes, mirror
        assert not [name for name, each in outcomes.items() if each.event == "installed"]
    assert fleet.running() == before

    # Thirty days later, a third file went to all devices; devices that were offline never install the second.
    fleet.clock.now += timedelta(days=AWAY_DAYS)
    third = fleet.publish(tiny_onnx(3), (wire.WHOLE,))
    outcomes = fleet.poll(away)
    assert {each.event for each in outcomes.values()} == {"installed"}
    for name in away:
        assert in_use(fleet.devices[name].folder) == third.sha256
        assert not [path for path in fleet.devices[name].folder.glob("slots/*/model.onnx")
                    if hashlib.sha256(path.read_bytes()).hexdigest() == bad]
