"""Stolen keys, edited files and rotations, with a plain python-tuf client."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import Signer
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata, TargetFile

from edge_agent.contract.wire import WireError
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.roles import Trusted, metadata_name, read_trusted, signed_by, target_name, to_bytes
from nas_pipeline.fleet.tuf.roles import meta_file_of as meta_of
from nas_pipeline.fleet.tuf.rotation import resign, restore, revoke, rotate, signing_keys
from nas_pipeline.fleet.tuf.store import checked_name
from tests.unit.fleet.toy_releases import MODEL, TARGET, Client, entry_of, publish, row_of, sign_list

REFUSED = (RepositoryError, DownloadError)


def _signers(fleet: Repository, *roles: str) -> dict[str, list[Signer]]:
    held = signing_keys(fleet.trusted())
    return {role: fleet.keys.signers(held[role]) for role in roles}


def _published(trusted: Trusted, role: str) -> Any:
    if role in trusted.delegated:
        return trusted.delegated[role].signed
    return {"timestamp": trusted.timestamp.signed, "snapshot": trusted.snapshot.signed,
            "targets": trusted.targets.signed}[role]


def _forge(fleet: Repository, *, target: bytes | None = None, version: int | None = None) -> None:
    """Publishes with stolen snapshot and timestamp keys and any target file."""
    trusted, keys = fleet.trusted(), _signers(fleet, "snapshot", "timestamp")
    snapshot, timestamp = deepcopy(trusted.snapshot.signed), deepcopy(trusted.timestamp.signed)
    if target is not None:
        forged: Metadata[Any] = Metadata.from_bytes(target)
        snapshot.meta[f"{TARGET}.json"] = meta_of(forged, target)
        fleet.store.write(metadata_name(TARGET, forged.signed.version), target)
    snapshot.version = version or snapshot.version + 1
    signed = signed_by(snapshot, keys["snapshot"])
    timestamp.version = version or timestamp.version + 1
    timestamp.snapshot_meta = meta_of(signed, to_bytes(signed))
    fleet.store.write(metadata_name("snapshot", snapshot.version), to_bytes(signed))
    fleet.store.write(metadata_name("timestamp"), to_bytes(signed_by(timestamp, keys["timestamp"])))


def _poisoned(fleet: Repository, signer_role: str) -> bytes:
    """Returns a target file that lists a model of the attacker, signed with the key of another role."""
    signed = deepcopy(fleet.trusted().delegated[TARGET].signed)
    evil = row_of(b"evil", 9)
    target = TargetFile.from_data(evil.card.onnx, b"evil", ["sha256"])
    signed.targets[target.path] = target
    signed.version += 1
    fleet.store.write(target_name(target.path, target.hashes["sha256"]), b"evil")
    return to_bytes(signed_by(signed, _signers(fleet, signer_role)[signer_role]))


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", TARGET])
def test_an_edited_file_is_refused(fleet: Repository, client: Client, role: str) -> None:
    publish(fleet, b"two")
    trusted = fleet.trusted()
    version = _published(trusted, role).version
    name = metadata_name(role, None if role == "timestamp" else version)
    value = json.loads(fleet.store.read(name) or b"")
    value["signed"]["expires"] = "2099-01-01T00:00:00Z"
    fleet.store.write(name, json.dumps(value).encode())
    if role != "targets":  # the client has this version already and does not download it again
        with pytest.raises(REFUSED):
            client.look()
    with pytest.raises(FleetError, match=r"fails verification|differs from the listed file"):
        fleet.release_list(TARGET, MODEL)


def test_a_key_that_is_not_listed_signs_for_nobody(fleet: Repository, client: Client) -> None:
    stranger = fleet.keys.create("stranger")
    timestamp = deepcopy(fleet.trusted().timestamp.signed)
    timestamp.version += 1
    signed = signed_by(timestamp, fleet.keys.signers([stranger.keyid]))
    fleet.store.write(metadata_name("timestamp"), to_bytes(signed))
    with pytest.raises(REFUSED):
        client.look()


@pytest.mark.parametrize("role", ["snapshot", "timestamp", "nano"])  # nano: the key of another target
def test_stolen_online_keys_install_nothing(fleet: Repository, client: Client, role: str) -> None:
    _forge(fleet, target=_poisoned(fleet, role))
    with pytest.raises(REFUSED):
        client.look()
    with pytest.raises(FleetError, match="fails verification"):
        publish(fleet, b"two")
    assert restore(fleet) >= 1
    for each in ("snapshot", "timestamp"):
        rotate(fleet, each, who="alice", why="stolen")
    publish(fleet, b"two")
    assert client.look() == {2: b"two"}


def test_a_family_key_signs_for_its_own_family_only(fleet: Repository, client: Client) -> None:
    trusted, keys = fleet.trusted(), _signers(fleet, "nano", "snapshot", "timestamp")
    nano = deepcopy(trusted.delegated["nano"].signed)
    target = TargetFile.from_data(row_of(b"evil", 9).card.onnx, b"evil", ["sha256"])
    nano.targets[target.path] = target
    nano.version += 1
    signed = signed_by(nano, keys["nano"])
    snapshot, timestamp = deepcopy(trusted.snapshot.signed), deepcopy(trusted.timestamp.signed)
    snapshot.version, snapshot.meta["nano.json"] = snapshot.version + 1, meta_of(signed, to_bytes(signed))
    top = signed_by(snapshot, keys["snapshot"])
    timestamp.version, timestamp.snapshot_meta = timestamp.version + 1, meta_of(top, to_bytes(top))
    fleet.store.write(metadata_name("nano", nano.version), to_bytes(signed))
    fleet.store.write(metadata_name("snapshot", snapshot.version), to_bytes(top))
    fleet.store.write(metadata_name("timestamp"), to_bytes(signed_by(timestamp, keys["timestamp"])))
    assert client.look() == {1: b"one"}


def test_one_of_two_root_signatures_is_none(fleet: Repository, client: Client) -> None:
    root = deepcopy(fleet.trusted().root.signed)
    root.version += 1
    root.roles["root"].threshold = 1
    fleet.store.write(metadata_name("root", 2), to_bytes(signed_by(root, _signers(fleet, "root")["root"][:1])))
    with pytest.raises(REFUSED):
        client.look()
    with pytest.raises(FleetError, match="fails verification"):
        fleet.trusted()


@pytest.mark.parametrize("role", ["root", "targets", TARGET, "snapshot", "timestamp"])
def test_a_client_that_was_away_follows_every_rotation(fleet: Repository, client: Client, role: str) -> None:
    before = set(signing_keys(fleet.trusted())[role])
    rotate(fleet, role, who="alice", why="yearly")
    rotate(fleet, role, who="alice", why="again")
    assert len(set(signing_keys(fleet.trusted())[role]) - before) == (2 if role == "root" else 1)
    assert client.look() == {1: b"one"}
    publish(fleet, b"two")
    assert client.look() == {2: b"two"}
    assert not fleet.journal.unfinished()


@pytest.mark.parametrize("role", ["targets", TARGET, "snapshot", "timestamp"])
def test_a_revoked_key_signs_nothing_any_more(fleet: Repository, client: Client, role: str) -> None:
    stolen = fleet.keys.signers(signing_keys(fleet.trusted())[role])
    revoked, _ = revoke(fleet, stolen[0].public_key.keyid[:12], who="alice", why="a laptop was lost")
    assert revoked == role
    assert client.look() == {1: b"one"}
    trusted = fleet.trusted()
    forged = deepcopy(_published(trusted, role))
    forged.version += 1
    by = trusted.root.signed if role in trusted.root.signed.roles else trusted.targets.signed
    metadata: Metadata[Any] = signed_by(forged, stolen)
    with pytest.raises(RepositoryError):
        by.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    if role == "timestamp":
        fleet.store.write(metadata_name(role), to_bytes(metadata))
        with pytest.raises(REFUSED):
            client.look()


def test_a_fast_forward_ends_with_new_keys(fleet: Repository, client: Client) -> None:
    before = fleet.store.read(metadata_name("timestamp")) or b""
    _forge(fleet, version=2_000_000)
    assert client.look() == {1: b"one"}
    (Path(fleet.settings.store) / "metadata" / "2000000.snapshot.json").unlink()
    fleet.store.write(metadata_name("timestamp"), before)
    with pytest.raises(REFUSED):
        client.look()
    for role in ("snapshot", "timestamp"):
        rotate(fleet, role, who="alice", why="stolen")
    publish(fleet, b"two")
    assert fleet.trusted().timestamp.signed.version < 100
    assert client.look() == {2: b"two"}


def test_an_expired_fleet_is_dated_anew(fleet: Repository, client: Client) -> None:
    assert resign(fleet, who="timer") == ["timestamp"]
    fleet.clock.forward(days=4)  # type: ignore[attr-defined]
    assert resign(fleet, who="timer") == ["snapshot", "timestamp"]
    fleet.clock.forward(days=60)  # type: ignore[attr-defined]
    assert resign(fleet, who="timer") == [*sorted([TARGET, "nano"], reverse=True), "targets", "snapshot", "timestamp"]
    assert client.look() == {1: b"one"}


def test_mixed_files_are_refused(fleet: Repository, client: Client) -> None:
    old = metadata_name(TARGET, fleet.trusted().delegated[TARGET].signed.version)
    content = fleet.store.read(old) or b""
    publish(fleet, b"two")
    fleet.store.write(metadata_name(TARGET, fleet.trusted().delegated[TARGET].signed.version), content)
    with pytest.raises(REFUSED):
        client.look()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "a//b", "a\\b", "C:\\x", "a\0b", "x/.", "", "a\nb"])
def test_names_that_lead_elsewhere_are_refused(fleet: Repository, name: str) -> None:
    with pytest.raises(FleetError):
        fleet.release_list(name, MODEL)
    row = row_of(b"two", 2)
    with pytest.raises((FleetError, WireError)):
        sign_list(fleet, TARGET, name, (row,), files={row.card.onnx: b"two"}, entry=entry_of(row))
    if "/" in name or "\\" in name or name == "" or not name.isprintable():
        with pytest.raises(FleetError):
            checked_name(name)


def test_a_rotation_without_enough_keys_leaves_everything_as_it_was(fleet: Repository, tmp_path: Path) -> None:
    offline = Path(fleet.settings.keys) / "offline"
    away = tmp_path / "stick"
    offline.rename(away)
    before = fleet.trusted().root.signed.version
    with pytest.raises(FleetError, match="root needs 2"):
        rotate(fleet, "timestamp", who="alice")
    assert fleet.trusted().root.signed.version == before
    assert len(fleet.keys.keys_for("timestamp")) == 1
    with_stick = Repository.open(fleet.settings, key_folders=[away])
    rotate(with_stick, "timestamp", who="alice")
    assert read_trusted(fleet.store, (tmp_path / "fleet/root.json").read_bytes()).root.signed.version == before + 1
