"""The command line of the agent: set-up, checks, reports and the loop."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Key

from edge_agent import cli, reports, watchdog
from edge_agent.agent import Agent
from edge_agent.contract import wire
from edge_agent.errors import SetupError
from edge_agent.slots import Slots
from edge_agent.state import load
from tests.security.device import in_use, set_up
from tests.security.device import reports as reports_of
from tests.security.tuf_repository import MODEL, TARGET, Row, TufRepository, golden_of, row, tiny_onnx
from tests.security.web import serving

FIRST, SECOND = row(tiny_onnx(1), 1), row(tiny_onnx(2), 2)


@pytest.fixture
def repository(tmp_path: Path) -> TufRepository:
    repository = TufRepository(tmp_path / "repository")
    repository.publish([FIRST])
    return repository


@pytest.fixture
def state(tmp_path: Path, repository: TufRepository) -> Path:
    return set_up(tmp_path, repository)


def test_init_prints_what_enrols_the_device(tmp_path: Path, repository: TufRepository,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    words = ["init", "--state", str(tmp_path / "new"), "--device", "dev-1", "--target", TARGET, "--model", MODEL,
             "--url", str(repository.folder), "--root", str(repository.first_root), "--hardware", "toy-board", "toy"]
    assert cli.main(words) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["device"], line["target"]) == ("dev-1", TARGET)
    assert Key.from_dict(line["keyid"], dict(line["key"])).scheme == "ed25519"
    assert stat.S_IMODE((tmp_path / "new/keys/device.pem").stat().st_mode) == 0o600
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out) == line, "the key stays"
    assert cli.main(["once", "--state", str(tmp_path / "new")]) == 0
    assert in_use(tmp_path / "new") == FIRST.sha256


@pytest.mark.parametrize(("change", "word"), [
    ({"--device": "Dev 1"}, "Dev 1"), ({"--root": "nowhere.json"}, "nowhere.json"),
    ({"--root": "timestamp.json"}, "timestamp.json is not a root.json"), ({"--floor": "nowhere.json"}, "nowhere.json"),
])
def test_init_refuses(change: dict[str, str], word: str, tmp_path: Path, repository: TufRepository,
                      capsys: pytest.CaptureFixture[str]) -> None:
    options = {"--state": str(tmp_path / "new"), "--device": "dev-1", "--target": TARGET, "--model": MODEL,
            "--url": "http://127.0.0.1/", "--root": str(repository.first_root)}
    change = {name: str(repository.folder / "metadata" / value) if name == "--root" else value
              for name, value in change.items()}
    assert cli.main(["init", *(word for pair in (options | change).items() for word in pair)]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_command_line(state: Path, repository: TufRepository, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--state", str(state)]
    assert cli.main(["once", *where]) == 0
    assert capsys.readouterr().out == "release 1 is in use\n"
    repository.publish([row(tiny_onnx(2), 2, hardware=("other",))])
    assert cli.main(["once", *where]) == 4
    error = capsys.readouterr().err
    assert error.startswith("nas-agent: refused, wrong_hardware: release 2 is refused")
    assert error.count("\n") == 1
    assert cli.main(["status", *where]) == 0
    assert FIRST.sha256 in capsys.readouterr().out
    assert cli.main(["status", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["counter"] == 1
    assert cli.main(["once", "--state", str(state / "nowhere")]) == 2
    assert "nas-agent init" in capsys.readouterr().err
    path = state / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "url": "http://127.0.0.1:9"}))
    done = subprocess.run([sys.executable, "-m", "edge_agent.cli", "once", *where], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "unreachable" in done.stderr


def test_rollback_needs_no_download(state: Path, repository: TufRepository) -> None:
    Agent(state).once()
    repository.publish([SECOND])
    Agent(state).once()
    returned = row(FIRST.content, 3)
    repository.publish([returned])
    for path in (repository.folder / "targets").rglob("*.onnx"):
        path.unlink()
    assert Agent(state).once().event == "installed"
    assert in_use(state) == FIRST.sha256
    assert Slots(state).current().release.counter == 3  # type: ignore[union-attr]  # in_use has checked it


def test_the_same_file_is_adopted(state: Path, repository: TufRepository) -> None:
    Agent(state).once()
    link = (state / "current").readlink()
    repository.publish([row(FIRST.content, 2)])
    assert Agent(state).once().event == "installed"
    assert (state / "current").readlink() == link
    memory = load(state)
    assert memory is not None
    assert memory.counter == 2


def test_a_model_that_serves_badly_is_left_for_good(state: Path, repository: TufRepository) -> None:
    """The server reverts by itself; the agent detects and reports it, and does not install the file again."""
    Agent(state).once()
    repository.publish([SECOND])
    Agent(state).once()
    assert Slots(state).revert()
    assert Agent(state).once().code == "quarantined"
    assert in_use(state) == FIRST.sha256
    assert ("reverted", "crashed") in [(report["event"], report["code"]) for report in reports_of(state)]


def test_two_agents(state: Path) -> None:
    import fcntl

    with (state / "lock").open("a") as second:
        fcntl.flock(second, fcntl.LOCK_EX)
        with pytest.raises(SetupError, match="another agent"):
            Agent(state).once()


def test_reports_are_signed_and_grow(state: Path, repository: TufRepository) -> None:
    agent = Agent(state)
    agent.once()
    agent.once()
    repository.publish([SECOND])
    agent.once()
    drop = sorted((state.parent / "drop").iterdir(), key=lambda path: int(path.stem.rpartition("-")[2]))
    key = Key.from_dict(agent.settings.key["keyid"], dict(agent.settings.key["key"]))
    received = []
    for path in drop:
        envelope = Envelope.from_dict(json.loads(path.read_bytes()))
        envelope.verify([key], 1)
        assert envelope.payload_type == wire.REPORT_TYPE
        received.append(wire.report_from(envelope.payload))
    assert [report.event for report in received] == ["installed", "installed"], "a check without news is not reported"
    assert received[1].seq == received[0].seq + 1
    assert received[1].about == {"counter": 2, "sha256": SECOND.sha256}


def test_a_heartbeat_a_day(state: Path) -> None:
    import time

    Agent(state).once()
    Agent(state, clock=lambda: time.time() + 90_000).once()
    assert [report["event"] for report in reports_of(state)] == ["installed", "current"]


def test_the_outbox_is_bounded_and_heartbeats_go_first(state: Path, repository: TufRepository,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_WAITING", 3)
    (state.parent / "drop").rmdir()
    agent = Agent(state)
    agent.once()
    for number in range(4):
        memory = agent.state()
        event = {"event": "current" if number else "failed", "code": "", "detail": "", "about": {}, "probation": {}}
        memory.events.append(event)
        reports.write(state, agent.settings, memory, 0.0, {})
    waiting = [path.stem.partition("-")[2] for path in sorted((state / "outbox").iterdir())]
    assert waiting == ["installed", "failed", "current"]


def test_the_memory_of_numbers_survives_its_loss(state: Path, repository: TufRepository) -> None:
    Agent(state).once()
    (state / "state.json").unlink()
    repository.publish([SECOND])
    Agent(state).once()
    assert len({report["seq"] for report in reports_of(state)}) == 2


def test_idle_is_light(state: Path) -> None:
    Agent(state).once()
    code = (f"import sys; from edge_agent import cli; status = cli.main(['once', '--state', {str(state)!r}]); "
            "sys.exit(status or any(name in sys.modules for name in ('numpy', 'onnxruntime')) * 9)")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.fixture
def service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000")
        yield channel


def test_signs_of_life(service_manager: socket.socket) -> None:
    watchdog.sleep(0.03)
    assert service_manager.recv(100) == b"WATCHDOG=1"


def test_run_goes_on_until_it_is_ended(state: Path, service_manager: socket.socket) -> None:
    child = subprocess.Popen([sys.executable, "-m", "edge_agent.cli", "run", "--state", str(state)],
                             stderr=subprocess.PIPE, env=dict(os.environ))
    with child:
        assert service_manager.recv(100) == b"READY=1"
        while "installed" not in [report["event"] for report in reports_of(state)]:
            assert service_manager.recv(100) == b"WATCHDOG=1"
        child.terminate()
    assert in_use(state) == FIRST.sha256


def wrong_answers(counter: int, **changes: object) -> Row:
    """A signed release whose golden logits come from another network."""
    return row(tiny_onnx(9), counter, golden=golden_of(tiny_onnx(8)), **changes)


def test_a_bad_model_gets_three_tries_and_never_comes_into_use(state: Path, repository: TufRepository) -> None:
    Agent(state).once()
    repository.publish([wrong_answers(2)])
    events = []
    for _ in range(4):
        outcome = Agent(state).once()
        assert outcome.status == 4
        assert in_use(state) == FIRST.sha256
        events.append((outcome.event, outcome.code))
    assert events == [("failed", "wrong_answers")] * 2 + [("quarantined", "wrong_answers"), ("refused", "quarantined")]
    third = reports_of(state)[-2]
    assert third["probation"]["tries"] == 3
    assert third["probation"]["max_error"] > 0
    assert third["quarantine"] == [wrong_answers(2).sha256]
    repository.publish([row(tiny_onnx(9), 3, lift_quarantine=True)])
    assert Agent(state).once().event == "installed"
    assert reports_of(state)[-1]["quarantine"] == []


def test_what_the_inspection_refuses_is_not_tried(state: Path, repository: TufRepository) -> None:
    Agent(state).once()
    junk = row(b"\x80\x04no model at all", 2, golden=golden_of(FIRST.content))
    repository.publish([junk])
    assert [(Agent(state).once().event, Agent(state).once().event)] == [("quarantined", "refused")]
    assert reports_of(state)[-2]["code"] == "unsafe_model"
    assert not list((state / "download").iterdir())
    assert in_use(state) == FIRST.sha256


def test_the_agent_stays_light_after_an_installation(state: Path) -> None:
    code = (f"import sys; from edge_agent import cli; status = cli.main(['once', '--state', {str(state)!r}]); "
            "sys.exit(status or any(name in sys.modules for name in ('numpy', 'onnxruntime')) * 9)")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert in_use(state) == FIRST.sha256


@pytest.mark.parametrize(("answer", "waiting"), [(204, 0), (400, 0), (403, 0), (408, 1), (429, 1), (500, 1), (302, 1)])
def test_what_a_server_says_to_a_report(answer: int, waiting: int, state: Path, tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.answer = answer
        path = state / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "report": f"{server.url}/reports"}))
        Agent(state).once()
        assert len(list((state / "outbox").iterdir())) == waiting
        assert len(server.posted) == 1
