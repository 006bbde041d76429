"""Private keys: file permissions, passwords, environment variables, additional folders."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.keys import PASSWORD, Keyring


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "fleet", tmp_path / "keys")


def test_only_the_owner_can_read_a_private_key(ring: Keyring, tmp_path: Path) -> None:
    key, second = ring.create("timestamp"), ring.create("timestamp")
    path = tmp_path / "keys" / "timestamp-1.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert {listed.keyid for listed in ring.keys_for("timestamp")} == {key.keyid, second.keyid}
    (signer,) = ring.signers([key.keyid])
    key.verify_signature(signer.sign(b"text"), b"text")
    assert ring.signer("unknown") is None
    assert ring.role_of(key.keyid) == "timestamp"


def test_an_encrypted_key_needs_its_password(ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ring.create("snapshot")
    monkeypatch.setenv(PASSWORD, "correct horse")
    key = ring.create("targets")
    assert (tmp_path / "keys" / "targets-1.pem").read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert len(ring.signers([key.keyid, plain.keyid])) == 2
    for wrong in ("battery", ""):
        monkeypatch.setenv(PASSWORD, wrong)
        with pytest.raises(FleetError, match=f"cannot be used .*{PASSWORD}"):
            ring.signer(key.keyid)


def test_a_key_may_be_in_another_folder_or_in_the_environment(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ring.create("root", offline=True)
    medium = tmp_path / "medium"
    medium.mkdir()
    path = tmp_path / "keys" / "offline" / "root-1.pem"
    pem = path.rename(medium / path.name).read_text()
    assert ring.signer(key.keyid) is None
    assert Keyring(tmp_path / "fleet", tmp_path / "keys", [medium]).signer(key.keyid) is not None
    ring.add("root", key, "env:ROOT_KEY")
    assert ring.signer(key.keyid) is None
    monkeypatch.setenv("ROOT_KEY", pem)
    assert ring.signer(key.keyid) is not None


def test_a_file_with_another_key_is_refused(ring: Keyring, tmp_path: Path) -> None:
    key, _ = ring.create("targets"), ring.create("snapshot")
    (tmp_path / "keys" / "targets-1.pem").write_bytes((tmp_path / "keys" / "snapshot-1.pem").read_bytes())
    with pytest.raises(FleetError, match="cannot be used"):
        ring.signer(key.keyid)
