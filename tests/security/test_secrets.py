"""Passwords and private keys are in no log at any level, no output and no file but their own."""

from __future__ import annotations

import base64
import logging
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from typer.testing import CliRunner

from edge_agent import cli
from nas_pipeline.actions.fleet import REPORTS_URL, open_fleet
from nas_pipeline.cli.app import app
from nas_pipeline.errors import ConfigError, FleetError, NasError
from nas_pipeline.fleet.tuf.keys import PASSWORD
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, added
from tests.security.scene import NEW, OLD
from tests.security.tuf_repository import Row
from tests.unit.fleet.toy_releases import entry_of, sign_list

REPO = Path(__file__).parents[2]
TARGET, MODEL = "local-cpu", "toy--local-cpu"
CANARY, OTHER, LOST = "canary-of-the-keys-7f3c", "canary-of-another-1a2b", "canary-of-the-reports-9e8d"


class Watch:
    """Collects all output, and the secrets that must not be in it."""

    def __init__(self, root: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.caplog, self.capsys = root, caplog, capsys
        self.output = ""

    def nas(self, *words: str) -> str:
        """Runs `nas fleet`."""
        done = CliRunner().invoke(app, ["fleet", *words, "--root", str(self.root)])
        self.output += done.output
        if isinstance(done.exception, NasError):
            self.output += _chain(done.exception)
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    def agent(self, *words: str) -> int:
        """Runs `nas-agent`."""
        status = cli.main([*words, "--state", str(self.root / "device")])
        captured = self.capsys.readouterr()
        self.output += captured.out + captured.err
        return status

    @property
    def private_files(self) -> list[Path]:
        return sorted(self.root.rglob("*.pem"))

    def secrets(self) -> Iterator[tuple[str, bytes]]:
        """Yields name and text of each secret: private keys in hex, in base64, as bytes and as PEM."""
        yield from (("a password", text.encode()) for text in (CANARY, OTHER, LOST))
        for path in self.private_files:
            pem = path.read_bytes()
            key = load_pem_private_key(pem, CANARY.encode() if b"ENCRYPTED" in pem else None)
            raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
            plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            for form in (raw, raw.hex().encode(), base64.b64encode(raw), *pem.splitlines()[1:-1],
                         *plain.splitlines()[1:-1]):
                yield path.name, form
        yield "a private key", b"PRIVATE KEY"

    def sees_nothing(self) -> None:
        """Checks that no secret is in the output or in a file other than those of the private keys."""
        log = "\n".join(f"{each.name} {each.getMessage()} {each.args} {each.exc_text}" for each in self.caplog.records)
        places = {"said": self.output.encode(), "log": log.encode()}
        private = set(self.private_files)
        places |= {str(path): path.read_bytes() for path in self.root.rglob("*")
                   if path.is_file() and path not in private}
        leaks = {(what, name) for what, secret in self.secrets() for name, content in places.items()
                 if secret in content}
        assert not leaks


def _chain(error: BaseException) -> str:
    """Returns the text of a log with a traceback."""
    below = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{error!r} {error}\n" + (_chain(below) if below else "")


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
          capsys: pytest.CaptureFixture[str]) -> Watch:
    caplog.set_level(logging.DEBUG)
    for name in ("tuf", "securesystemslib", "sqlalchemy", "nas_pipeline", "edge_agent"):
        caplog.set_level(logging.DEBUG, name)
    monkeypatch.setenv(PASSWORD, CANARY)
    (tmp_path / "params.yaml").write_text((REPO / "params.yaml").read_text())
    return Watch(tmp_path, caplog, capsys)


def release(root: Path, row: Row, counter: int) -> None:
    """Uses a world-readable file."""
    fleet = open_fleet(root)
    card = replace(row.card, counter=counter, onnx=f"{TARGET}/{MODEL}/{row.sha256}.onnx")
    listed = ReleaseEntry(replace(row.release, model=MODEL, counter=counter, hardware=(TARGET,)), card)
    sign_list(fleet, TARGET, MODEL, added(fleet.release_list(TARGET, MODEL), listed), files={card.onnx: row.content},
                  entry=entry_of(listed))


def test_the_life_of_a_fleet_tells_no_secret(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    root = watch.root
    watch.nas("init")
    release(root, OLD, 1)
    watch.nas("export-root", str(root / "image"))
    (root / "drop").mkdir()
    assert watch.agent("init", "--device", "dev-1", "--target", TARGET, "--model", MODEL, "--hardware", TARGET,
                       "--url", open_fleet(root).settings.store, "--root", str(root / "image/root.json"),
                       "--report", str(root / "drop")) == 0
    (root / "enrolment").write_text(watch.output.splitlines()[-1])
    watch.nas("enrol", str(root / "enrolment"))
    assert watch.agent("once") == 0
    for role in ("timestamp", "snapshot", "targets", TARGET, "root"):
        watch.nas("rotate-key", role)
    release(root, NEW, 2)
    key = next(line for line in watch.nas("status").splitlines() if line.startswith("timestamp")).split()[-1]
    watch.nas("revoke", "--key", key)
    for words in (["resign"], ["restore"], ["collect", "--drop", str(root / "drop")], ["devices"]):
        watch.nas(*words)
    watch.nas("live", "--target", TARGET, "--at", "2099-01-01")
    assert watch.agent("once") == 0
    assert watch.agent("status") == 0
    assert watch.agent("status", "--json") == 0
    monkeypatch.setenv(REPORTS_URL, f"postgresql+psycopg://nas:{LOST}@127.0.0.1:9/reports")
    with pytest.raises(ConfigError, match="does not respond"):
        watch.nas("live", "--target", TARGET, "--at", "2099-01-01")
    watch.nas("status")
    assert len(watch.caplog.records) > 50, "the level is low enough"
    assert list((root / "drop").rglob("dev-1-*.json"))
    watch.sees_nothing()


@pytest.mark.parametrize("where", ["said", "log", "file"])
@pytest.mark.parametrize("what", ["password", "hex", "pem"])
def test_the_watch_sees_what_it_looks_for(what: str, where: str, watch: Watch) -> None:
    watch.nas("init")
    (path,) = watch.root.rglob("targets-1.pem")
    key = load_pem_private_key(path.read_bytes(), CANARY.encode())
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    secret = {"password": CANARY, "hex": raw.hex(), "pem": path.read_text().splitlines()[2]}[what]
    if where == "said":
        watch.output += secret
    elif where == "log":
        logging.getLogger("nas_pipeline.fleet").debug("it is %s", secret)
    else:
        (watch.root / "fleet" / "note.json").write_text(f"[{secret}]")
    with pytest.raises(AssertionError):
        watch.sees_nothing()


def test_private_keys_are_for_their_owner_only(watch: Watch) -> None:
    watch.nas("init")
    for role in ("timestamp", "root"):
        watch.nas("rotate-key", role)
    assert len(watch.private_files) > 6
    for path in watch.private_files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert watch.agent("init", "--device", "dev-1", "--target", TARGET, "--model", MODEL, "--url", "http://127.0.0.1:9",
                       "--root", str(watch.root / "fleet/root.json")) == 0
    (of_device,) = (watch.root / "device").rglob("*.pem")
    assert stat.S_IMODE(of_device.stat().st_mode) == 0o600


@pytest.mark.parametrize("password", [OTHER, "", f"{CANARY} "])
def test_a_wrong_password_is_not_repeated(password: str, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.nas("init")
    monkeypatch.setenv(PASSWORD, password)
    for words in (["rotate-key", "timestamp"], ["resign"], ["status"]):
        with pytest.raises(FleetError, match=f"cannot be used .*{PASSWORD}"):
            watch.nas(*words)
    watch.sees_nothing()


def test_a_key_file_in_pieces_is_not_repeated(watch: Watch) -> None:
    """Parts of the password are not printed either."""
    watch.nas("init")
    (path,) = watch.root.rglob("timestamp-1.pem")
    whole = path.read_bytes()
    for content in (whole[:100], whole.replace(b"BEGIN", b"BEG1N"), b"", b"\0" * 100):
        path.write_bytes(content)
        with pytest.raises(FleetError, match="cannot be used"):
            watch.nas("resign")
    path.write_bytes(whole)
    watch.sees_nothing()


@pytest.mark.parametrize("url", [
    f"postgresql+psycopg://nas:{LOST}@127.0.0.1:9/reports", f"nosuch://nas:{LOST}@127.0.0.1/reports",
    f"sqlite://nas:{LOST}@/reports.db", f"postgresql+psycopg://nas:{LOST}@127.0.0.1:port/reports",
    f"postgresql+psycopg://nas:12@34:{LOST}@127.0.0.1/reports",  # a password that is not quoted
    f"postgresql+psycopg://nas:half@{LOST}@127.0.0.1/reports", f"nas:{LOST}@127.0.0.1/reports://",
    f"postgresql+psycopg://nas@{LOST}:5432:{LOST}@127.0.0.1/reports",
])
def test_a_wrong_address_of_the_reports_is_not_repeated(
    url: str, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.nas("init")
    monkeypatch.setenv(REPORTS_URL, url)
    with pytest.raises(ConfigError, match="database of reports"):
        watch.nas("devices")
    watch.sees_nothing()
