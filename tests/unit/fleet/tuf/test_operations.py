"""Stop, rollback, withdrawal, widening, approval, and the journal entries that they leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.rollout.live import live_at
from nas_pipeline.fleet.tuf import pending
from nas_pipeline.fleet.tuf.operations import rollback, rollback_or_stop, stop, widen, withdraw
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.rotation import rotate
from tests.unit.fleet.toy_releases import MODEL, TARGET, client_of, new_fleet, publish


@pytest.fixture
def fleet(tmp_path: Path) -> Repository:
    return new_fleet(tmp_path)


def test_stop_ends_a_roll_out_once(fleet: Repository) -> None:
    publish(fleet, b"one")
    publish(fleet, b"two", share=100)
    done = stop(fleet, TARGET, MODEL, who="bob", why="strange answers")
    assert done.now is not None
    assert [row.release.counter for row in fleet.release_list(TARGET, MODEL)] == [1]
    with pytest.raises(FleetError, match="nothing to stop"):
        stop(fleet, TARGET, MODEL, who="bob")
    assert publish(fleet, b"three").release.counter == 3


def test_rollback_returns_to_the_last_good_release_and_then_further(fleet: Repository, tmp_path: Path) -> None:
    client = client_of(fleet, tmp_path / "client")
    publish(fleet, b"one")
    with pytest.raises(FleetError, match="no release before 1"):
        rollback(fleet, TARGET, MODEL, who="bob")
    publish(fleet, b"two")
    publish(fleet, b"three", share=100)
    rollback(fleet, TARGET, MODEL, who="bob", why="the roll-out went wrong")
    assert client.look() == {4: b"two"}
    rotate(fleet, TARGET, who="bob")  # an older list was signed with a key that is gone: the copies still serve
    rollback(fleet, TARGET, MODEL, who="bob", why="two is no good either")
    assert client.look() == {5: b"one"}
    assert fleet.release_list(TARGET, MODEL)[0].release.lift_quarantine
    with pytest.raises(FleetError, match="no release before 5"):
        rollback(fleet, TARGET, MODEL, who="bob")


def test_a_withdrawn_file_is_not_offered(fleet: Repository, tmp_path: Path) -> None:
    row = publish(fleet, b"one")
    with pytest.raises(FleetError, match="no file '0000'"):
        withdraw(fleet, TARGET, MODEL, "0000", who="bob")
    assert withdraw(fleet, TARGET, MODEL, row.sha256[:12], who="bob", why="licence").now is None
    assert client_of(fleet, tmp_path / "client").look() == {}


def test_a_decision_about_an_older_list_is_refused(fleet: Repository) -> None:
    publish(fleet, b"one")
    top = publish(fleet, b"two", share=100)
    assert widen(fleet, TARGET, MODEL, base=top, who="rollout").live
    before = fleet.release_list(TARGET, MODEL)
    with pytest.raises(FleetError, match="changed after the decision"):
        widen(fleet, TARGET, MODEL, base=top, who="rollout")
    with pytest.raises(FleetError, match="changed after the decision"):
        rollback_or_stop(fleet, TARGET, MODEL, base=top, who="rollout")
    assert fleet.release_list(TARGET, MODEL) == before


def test_a_roll_out_without_an_earlier_release_is_stopped(fleet: Repository) -> None:
    top = publish(fleet, b"one", share=100)
    change = rollback_or_stop(fleet, TARGET, MODEL, base=top, who="rollout")
    assert change is not None
    assert change.now is None
    assert fleet.release_list(TARGET, MODEL) == ()
    full = publish(fleet, b"two")
    assert rollback_or_stop(fleet, TARGET, MODEL, base=full, who="rollout") is None
    assert fleet.release_list(TARGET, MODEL) == (full,)


def test_nothing_is_published_without_the_approver(tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, approval=True)
    client = client_of(fleet, tmp_path / "client")
    approver = Path(fleet.settings.keys) / f"{TARGET}.approver-1.pem"
    away = approver.rename(tmp_path / approver.name)
    publish(fleet, b"one")
    assert client.look() == {}
    assert pending.pending_targets(fleet.settings.folder) == [TARGET]
    with pytest.raises(FleetError, match=r"needs 2 signature\(s\), 1 available"):
        fleet.approve(TARGET, "carol")
    away.rename(approver)
    fleet.approve(TARGET, "carol", "looks right")
    assert client.look() == {1: b"one"}
    assert pending.pending_targets(fleet.settings.folder) == []
    with pytest.raises(FleetError, match="no change of pi waits"):
        fleet.approve(TARGET, "carol")
    live = live_at(fleet.journal.entries(), [], "2099-01-01T00:00:00Z", target=TARGET, model=MODEL)
    assert live.releases[0].approved_by == ("carol",)
    assert [entry.kind for entry in fleet.journal.entries()] == ["init", "approved", "published"]


def test_approval_is_refused_after_the_list_changed(tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, approval=True)
    publish(fleet, b"one")
    rotate(fleet, TARGET, who="alice")
    with pytest.raises(FleetError, match="was changed after this change was proposed"):
        fleet.approve(TARGET, "carol")
