"""The signed repository: a plain TUF client verifies what it writes, and every change is atomic."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.releases import returned, widened, withdrawn
from nas_pipeline.fleet.tuf.repository import Repository
from tests.unit.fleet.toy_releases import MODEL, TARGET, client_of, entry_of, new_fleet, publish, row_of, sign_list


@pytest.fixture
def fleet(tmp_path: Path) -> Repository:
    return new_fleet(tmp_path)


def test_a_release_reaches_a_plain_client(fleet: Repository, tmp_path: Path) -> None:
    client = client_of(fleet, tmp_path / "client")
    assert client.look() == {}
    row = publish(fleet, b"one")
    assert client.look() == {1: b"one"}
    assert fleet.release_list(TARGET, MODEL) == (row,)
    assert fleet.models() == [(TARGET, MODEL)]


def test_waves_widen_and_an_older_file_returns_under_a_higher_counter(fleet: Repository, tmp_path: Path) -> None:
    client = client_of(fleet, tmp_path / "client")
    first = publish(fleet, b"one")
    second = publish(fleet, b"two", share=100)
    assert client.look() == {1: b"one", 2: b"two"}
    wider = widened(fleet.release_list(TARGET, MODEL))
    sign_list(fleet, TARGET, MODEL, wider, entry=entry_of(wider[0], "widened"))
    assert client.look() == {2: b"two"}
    restored = returned(fleet.release_list(TARGET, MODEL), first, 3)
    sign_list(fleet, TARGET, MODEL, restored, entry=entry_of(restored[0], "rolled back"))
    assert client.look() == {3: b"one"}
    gone = withdrawn(fleet.release_list(TARGET, MODEL), first.sha256)
    sign_list(fleet, TARGET, MODEL, gone, entry=entry_of(restored[0], "withdrawn"))
    assert client.look() == {}
    assert fleet.highest_counter(TARGET, MODEL) == 3
    assert second.sha256 in {entry.sha256 for entry in fleet.journal.entries()}


def test_the_same_change_is_done_once(fleet: Repository) -> None:
    row = publish(fleet, b"one", key="k")
    before = fleet.trusted().timestamp.signed.version
    assert sign_list(fleet, TARGET, MODEL, (row,), files={row.card.onnx: b"one"}, entry=entry_of(row, key="k"))
    assert fleet.trusted().timestamp.signed.version == before
    assert [entry.kind for entry in fleet.journal.entries()] == ["init", "published"]


def test_a_used_counter_is_refused(fleet: Repository) -> None:
    publish(fleet, b"one")
    rival = row_of(b"two", 1)
    with pytest.raises(FleetError, match="is published: only its wave may grow"):
        sign_list(fleet, TARGET, MODEL, (rival,), files={rival.card.onnx: b"two"}, entry=entry_of(rival))
    publish(fleet, b"three")
    with pytest.raises(FleetError, match="not above 2"):
        sign_list(fleet, TARGET, MODEL, (rival,), files={rival.card.onnx: b"two"}, entry=entry_of(rival))


def test_a_file_must_match_the_hash_in_its_name(fleet: Repository) -> None:
    row = row_of(b"one", 1)
    with pytest.raises(FleetError, match="not the one in its name"):
        sign_list(fleet, TARGET, MODEL, (row,), files={row.card.onnx: b"rival"}, entry=entry_of(row))
    with pytest.raises(FleetError, match="neither among the new files"):
        sign_list(fleet, TARGET, MODEL, (row,), entry=entry_of(row))
    assert fleet.journal.unfinished() == ()


def test_a_second_init_only_adds_targets(fleet: Repository, tmp_path: Path) -> None:
    from nas_pipeline.fleet.tuf.create_fleet import create_fleet
    from tests.unit.fleet.toy_releases import settings_of

    again = create_fleet(settings_of(tmp_path, target_names=(TARGET, "nano", "orin")), who="bob")
    assert (again.created, again.target_names) == (False, ("orin",))
    assert set(again.repository.trusted().delegated) == {TARGET, "nano", "orin"}
    assert create_fleet(settings_of(tmp_path), who="bob").target_names == ()
