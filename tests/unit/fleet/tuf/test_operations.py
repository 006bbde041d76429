"""Stop, roll back, withdraw, a second signature; and what the journal says of it afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.rollout.live import live_at
from nas_pipeline.fleet.tuf import pending
from nas_pipeline.fleet.tuf.operations import rollback, stop, withdraw
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.rotation import rotate
from tests.unit.fleet.toy_releases import FAMILY, MODEL, client_of, new_fleet, publish


@pytest.fixture
def fleet(tmp_path: Path) -> Repository:
    return new_fleet(tmp_path)


def test_a_roll_out_is_stopped_and_a_stopped_one_is_not_stopped_again(fleet: Repository) -> None:
    publish(fleet, b"one")
    publish(fleet, b"two", share=100)
    done = stop(fleet, FAMILY, MODEL, who="bob", why="strange answers")
    assert done.now is not None
    assert [row.release.counter for row in fleet.rows(FAMILY, MODEL)] == [1]
    with pytest.raises(FleetError, match="nothing to stop"):
        stop(fleet, FAMILY, MODEL, who="bob")
    assert publish(fleet, b"three").release.counter == 3


def test_rollback_goes_to_the_last_good_one_and_further_back(fleet: Repository, tmp_path: Path) -> None:
    client = client_of(fleet, tmp_path / "client")
    publish(fleet, b"one")
    with pytest.raises(FleetError, match="no release before 1"):
        rollback(fleet, FAMILY, MODEL, who="bob")
    publish(fleet, b"two")
    publish(fleet, b"three", share=100)
    rollback(fleet, FAMILY, MODEL, who="bob", why="the roll-out went wrong")
    assert client.look() == {4: b"two"}
    rotate(fleet, FAMILY, who="bob")  # an older list was signed with a key that is gone: the copies still serve
    rollback(fleet, FAMILY, MODEL, who="bob", why="two is no good either")
    assert client.look() == {5: b"one"}
    assert fleet.rows(FAMILY, MODEL)[0].release.lift_quarantine
    with pytest.raises(FleetError, match="no release before 5"):
        rollback(fleet, FAMILY, MODEL, who="bob")


def test_a_withdrawn_file_is_offered_to_nobody(fleet: Repository, tmp_path: Path) -> None:
    row = publish(fleet, b"one")
    with pytest.raises(FleetError, match="lists no file"):
        withdraw(fleet, FAMILY, MODEL, "0000", who="bob")
    assert withdraw(fleet, FAMILY, MODEL, row.sha256[:12], who="bob", why="licence").now is None
    assert client_of(fleet, tmp_path / "client").look() == {}


def test_without_the_approver_nothing_is_published(tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, approval=True)
    client = client_of(fleet, tmp_path / "client")
    approver = Path(fleet.settings.keys) / f"{FAMILY}.approver-1.pem"
    away = approver.rename(tmp_path / approver.name)
    publish(fleet, b"one")
    assert client.look() == {}
    assert pending.waiting(fleet.settings.folder) == [FAMILY]
    with pytest.raises(FleetError, match=r"takes 2 signature\(s\), and 1 can be given"):
        fleet.approve(FAMILY, "carol")
    away.rename(approver)
    fleet.approve(FAMILY, "carol", "looks right")
    assert client.look() == {1: b"one"}
    assert pending.waiting(fleet.settings.folder) == []
    with pytest.raises(FleetError, match="nothing waits"):
        fleet.approve(FAMILY, "carol")
    found = live_at(fleet.journal.entries(), [], "2099-01-01T00:00:00Z", target=FAMILY, model=MODEL)
    assert found.releases[0].approved_by == ("carol",)
    assert [entry.kind for entry in fleet.journal.entries()] == ["init", "approved", "published"]


def test_what_was_approved_meanwhile_is_not_approved_blindly(tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, approval=True)
    publish(fleet, b"one")
    rotate(fleet, FAMILY, who="alice")
    with pytest.raises(FleetError, match="was changed since this was proposed"):
        fleet.approve(FAMILY, "carol")
