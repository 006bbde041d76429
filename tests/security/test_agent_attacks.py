"""Attacks from the network or with a USB stick. The model in use stays in use."""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import SlowRetrievalError

from edge_agent import cli
from edge_agent.agent import Agent
from edge_agent.contract import wire
from edge_agent.errors import AgentError
from edge_agent.fetch import FolderFetcher, WebFetcher
from edge_agent.state import load
from edge_agent.updates import Updates, stamp
from tests.security.device import in_use, reports, set_up
from tests.security.scene import NEW, OLD, Scene, clock_of_tuf
from tests.security.tuf_repository import MODEL, TARGET, Row, golden_of, new_keys, row, tiny_onnx
from tests.security.web import Handler, honest, serving

DAY = 86_400


def onnx_file(scene: Scene, wanted: Row = NEW) -> Path:
    return scene.repository.folder / f"targets/{TARGET}/{MODEL}/{wanted.sha256}.{wanted.sha256}.onnx"


def flipped(content: bytes, stream: random.Random) -> bytes:
    position = stream.randrange(len(content) * 8)
    changed = bytearray(content)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


# Tampering

@pytest.mark.slow
def test_a_thousand_flipped_bits(scene: Scene) -> None:
    """Flips in the model, in release.json and in each metadata file: no changed content is accepted."""
    stream = random.Random("bits")
    scene.repository.publish([NEW])
    folder, version = scene.repository.folder, scene.repository.version
    cards = next((folder / f"targets/{TARGET}/{MODEL}").glob(f"{_listed(scene)}.release.json"))
    names = ["timestamp", f"{version}.snapshot", f"{version}.targets", f"{version}.{TARGET}"]
    files = [cards, *(scene.metadata / f"{name}.json" for name in names)]
    accepted, codes = 0, set()
    for number in range(850):
        path = files[number % len(files)]
        content = path.read_bytes()
        path.write_bytes(flipped(content, stream))
        shutil.rmtree(scene.state / "metadata")
        (scene.state / "releases.json").unlink(missing_ok=True)
        try:
            updates = Updates(FolderFetcher(str(folder)), str(folder), scene.state, floor="", now=time.time())
            offers = updates.offers(TARGET, MODEL)
            accepted += [asdict(offer.release) for offer in offers] != [asdict(NEW.release)]
        except AgentError as error:
            codes.add(error.code)
        path.write_bytes(content)
    assert accepted == 0
    assert codes <= {"bad_signature", "bad_metadata", "tampered", "unreachable", "mixed", "endless_data"}
    good = onnx_file(scene).read_bytes()
    for _ in range(150):
        onnx_file(scene).write_bytes(flipped(good, stream))
        assert scene.once().code == "tampered"
    assert in_use(scene.state) == OLD.sha256
    onnx_file(scene).write_bytes(good)
    scene.installs()


def _listed(scene: Scene) -> str:
    value = json.loads((scene.metadata / f"{scene.repository.version}.{TARGET}.json").read_bytes())
    digest: str = value["signed"]["targets"][wire.release_path(TARGET, MODEL)]["hashes"]["sha256"]
    return digest


@pytest.mark.parametrize("length", [0, 1, 1000, -1])
def test_a_truncated_model(length: int, scene: Scene) -> None:
    scene.repository.publish([NEW])
    good = onnx_file(scene).read_bytes()
    onnx_file(scene).write_bytes(good[:length])
    scene.refuses("unreachable")
    onnx_file(scene).write_bytes(good)
    scene.installs()


def test_a_longer_model(scene: Scene) -> None:
    scene.repository.publish([NEW])
    good = onnx_file(scene).read_bytes()
    onnx_file(scene).write_bytes(good + b"more")
    scene.refuses("endless_data")
    assert not list((scene.state / "download").iterdir())


def test_a_poisoned_part_is_thrown_away(scene: Scene) -> None:
    scene.repository.publish([NEW])
    (scene.state / "download").mkdir(exist_ok=True)
    (scene.state / "download" / f"{NEW.sha256}.part").write_bytes(b"poison" * 100)
    scene.refuses("tampered")
    scene.installs()


def test_a_file_that_rots_on_the_disk(scene: Scene) -> None:
    scene.repository.publish([NEW])
    scene.installs()
    (scene.state / "current" / "model.onnx").write_bytes(b"rot")
    shutil.move(scene.repository.folder, scene.folder / "away")
    assert scene.once().code == "unreachable"
    assert in_use(scene.state) == OLD.sha256
    assert (reports(scene.state)[-1]["event"], reports(scene.state)[-1]["code"]) == ("reverted", "tampered")
    shutil.move(scene.folder / "away", scene.repository.folder)
    scene.installs()


# Endless and slow

def endless(handler: Handler, content: bytes) -> None:
    if not handler.path.endswith(".onnx"):
        return honest(handler, content)
    handler.start(content, length=1 << 40)
    while not handler.server.ended.is_set():
        handler.wfile.write(content)
    return None


def test_an_endless_body(scene: Scene) -> None:
    scene.repository.publish([NEW])
    with serving(scene.repository.folder, endless) as server:
        start = time.monotonic()
        scene.refuses("endless_data", server.url)
        assert time.monotonic() - start < 5
    assert not list((scene.state / "download").iterdir())


def test_endless_metadata(scene: Scene) -> None:
    def endless_timestamp(handler: Handler, content: bytes) -> None:
        if handler.path.endswith("timestamp.json"):
            handler.start(content, length=1 << 40)
            while not handler.server.ended.is_set():
                handler.wfile.write(b" " * 10_000)
        else:
            honest(handler, content)

    with serving(scene.repository.folder, endless_timestamp) as server:
        scene.refuses("endless_data", server.url)


@pytest.mark.parametrize("what", ["timestamp.json", ".onnx"])
def test_a_slow_body_is_cut_off(what: str, scene: Scene) -> None:
    def drip(handler: Handler, content: bytes) -> None:
        first = handler.start(content)
        if not handler.path.endswith(what):
            handler.wfile.write(content[first:])
            return
        for position in range(first, len(content)):
            if handler.server.ended.wait(0.05):
                return
            handler.wfile.write(content[position : position + 1])

    scene.configure(window_s=0.2)
    scene.repository.publish([NEW])
    with serving(scene.repository.folder, drip) as server:
        scene.refuses("slow_data", server.url)
    if what == ".onnx":
        assert 0 < next((scene.state / "download").iterdir()).stat().st_size < 100, "kept for the next check"
    scene.configure(window_s=20)
    scene.installs()


def test_a_head_that_never_ends_is_cut_off(scene: Scene) -> None:
    def drip(handler: Handler, content: bytes) -> None:
        while not handler.server.ended.wait(0.05):
            handler.wfile.write(b"H")

    with serving(scene.repository.folder, drip) as server, pytest.raises(SlowRetrievalError):
        WebFetcher(min_speed=1000, window_s=0.1).download_bytes(f"{server.url}/metadata/timestamp.json", 1000)


# Old, frozen and mixed metadata

def test_replay(scene: Scene) -> None:
    old = {path.name: path.read_bytes() for path in scene.metadata.iterdir()}
    scene.repository.publish([NEW])
    scene.installs()
    for name, content in old.items():
        (scene.metadata / name).write_bytes(content)
    outcome = scene.once()
    assert (outcome.code, in_use(scene.state)) == ("replayed", NEW.sha256)


def test_replay_after_the_cache_is_lost(scene: Scene) -> None:
    """Without its cache python-tuf accepts old metadata; the time floor still refuses it."""
    old = {path.name: path.read_bytes() for path in scene.metadata.iterdir()}
    scene.repository.now = datetime.now(UTC) + timedelta(minutes=2)
    scene.repository.publish([NEW])
    scene.installs()
    shutil.rmtree(scene.state / "metadata")
    for name, content in old.items():
        (scene.metadata / name).write_bytes(content)
    outcome = scene.once()
    assert (outcome.code, in_use(scene.state)) == ("replayed", NEW.sha256)


def test_freeze(scene: Scene) -> None:
    scene.repository.publish([NEW], timestamp_days=-0.01)
    scene.refuses("expired")
    scene.refuses("expired")
    codes = [report["code"] for report in reports(scene.state)]
    assert codes.count("expired") == 1, "reported once"
    scene.repository.publish([NEW])
    scene.installs()


@pytest.mark.parametrize("hashes", [False, True])
@pytest.mark.parametrize("role", ["snapshot", "targets", TARGET])
def test_mix_and_match(role: str, hashes: bool, scene: Scene) -> None:
    scene.repository.hashes = hashes
    old = (scene.metadata / f"{scene.repository.version}.{role}.json").read_bytes()
    scene.repository.publish([NEW])
    (scene.metadata / f"{scene.repository.version}.{role}.json").write_bytes(old)
    scene.refuses("tampered" if hashes else "mixed")


def test_swapped_models(scene: Scene) -> None:
    scene.repository.publish([NEW])
    onnx_file(scene).write_bytes(OLD.content + b" " * (len(NEW.content) - len(OLD.content)))
    scene.refuses("tampered")


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp", TARGET])
def test_a_stranger_signs(role: str, scene: Scene) -> None:
    scene.repository.publish([NEW], signers=new_keys(role))
    scene.refuses("bad_signature")
    scene.repository.publish([NEW])
    scene.installs()


# Clocks

@pytest.mark.parametrize("days", [30, 3650, 365 * 56])
def test_a_clock_set_back(days: float, scene: Scene) -> None:
    scene.repository.publish([NEW])
    with clock_of_tuf(-days * DAY):
        scene.refuses("clock_behind", clock=-days * DAY)
    scene.installs()


def test_a_clock_set_forward_locks_nothing(scene: Scene) -> None:
    scene.repository.publish([NEW])
    with clock_of_tuf(3650 * DAY):
        scene.refuses("expired", clock=3650 * DAY)
    memory = load(scene.state)
    assert memory is not None
    assert memory.floor < stamp(time.time() + 1), "the device's own clock is not in the floor"
    scene.installs()


def test_nobody_sets_the_floor_into_the_future(scene: Scene) -> None:
    """Holds also for a thief of the timestamp key."""
    scene.repository.publish([NEW], issued="2099-01-01T00:00:00Z")
    scene.refuses("clock_behind")
    scene.repository.publish([NEW])
    scene.installs()


def test_a_timestamp_that_does_not_say_when(scene: Scene) -> None:
    scene.repository.publish([NEW], issued="yesterday")
    scene.refuses("bad_metadata")


# Releases that are not for this device

@pytest.mark.parametrize(("code", "changes"), [
    ("lower_counter", {"counter": 0}),
    ("wrong_hardware", {"hardware": ("other-board",)}),
    ("wrong_hardware", {"hardware": ()}),
    ("wrong_runtime", {"ort": ("2.0", "3")}),
    ("wrong_runtime", {"ort": ("1.0", "1.1")}),
    ("wrong_model", {"model": "other--toy"}),
    ("old_agent", {"min_agent": "99"}),
    ("bad_release", {"golden": golden_of(OLD.content).sha256}),
    ("bad_release", {"schema": 1, "counter": 3}),
    ("bad_release", {"memory_mb": -1.0}),
])
def test_a_release_that_is_refused(code: str, changes: dict[str, Any], scene: Scene) -> None:
    if changes.get("counter") == 0:
        scene.repository.publish([row(NEW.content, 5)])
        memory = load(scene.state)
        assert memory is not None
        memory.counter = 6
        memory.save(scene.state)
    else:
        scene.repository.publish([replace(NEW, release=replace(NEW.release, **changes))])
    scene.refuses(code)
    assert not list(scene.state.glob("download/*")), "nothing was downloaded"


@pytest.mark.parametrize("path", [
    "../../../../etc/passwd", "/etc/passwd", "toy/shapes--toy/../../x.onnx", "toy\\shapes--toy\\x.onnx", "C:\\x.onnx",
    "toy/shapes--toy/\x00.onnx", "toy/shapes--toy/\uff58.onnx", "file:///etc/passwd",
    f"toy/shapes--toy/{'A' * 64}.onnx", f"toy/other--toy/{NEW.sha256}.onnx",
    f"other/shapes--toy/{NEW.sha256}.onnx", f"toy/shapes--toy/{NEW.sha256}.onnx/",
])
def test_a_name_that_leads_elsewhere(path: str, scene: Scene) -> None:
    cards = wire.releases_to(MODEL, TARGET, "", (replace(NEW.card, onnx=path),))
    scene.repository.publish([], cards=cards)
    scene.refuses("bad_release")
    assert {item.name for item in scene.folder.iterdir()} == {"repository", "device"}


# A wiped state

def test_a_wiped_state_does_not_go_below_the_floor(scene: Scene) -> None:
    issued = stamp(time.time() - 60)
    old = scene.folder / "device2"
    fresh = set_up(old, scene.repository, floor={"issued": issued, "counter": 2})
    assert Agent(fresh).once().code == "lower_counter"
    assert in_use(fresh) == ""
    scene.repository.publish([NEW])
    assert Agent(fresh).once().event == "installed"
    late = set_up(scene.folder / "device3", scene.repository, floor={"issued": stamp(time.time() + 200), "counter": 0})
    assert Agent(late).once().code == "replayed"


# Unreliable connections, long offline periods

def test_half_of_all_connections_break(scene: Scene) -> None:
    stream = random.Random("breaks")

    def moody(handler: Handler, content: bytes) -> None:
        if stream.random() < 0.5:
            handler.drop()
            return
        first = handler.start(content)
        rest = content[first:]
        if stream.random() < 0.5 or (first == 0 and handler.path.endswith(".onnx")):
            rest = rest[: len(rest) // 2]
            handler.close_connection = True
        handler.wfile.write(rest)

    scene.repository.publish([NEW])
    with serving(scene.repository.folder, moody) as server:
        for _ in range(40):
            outcome = scene.once(server.url)
            assert in_use(scene.state) in (OLD.sha256, NEW.sha256)
            if outcome.event == "installed":
                break
            assert outcome.code == "unreachable"
        assert in_use(scene.state) == NEW.sha256
        ranges = [wanted for path, wanted in server.requests if path.endswith(".onnx")]
        assert any(ranges), "went on where it was"


def test_offline_for_a_month_then_several_releases(scene: Scene) -> None:
    for days in range(8, 30, 7):
        with clock_of_tuf(days * DAY):
            outcome = scene.once(clock=days * DAY)  # the metadata of the mirror has expired
        assert outcome.code == "expired"
        assert in_use(scene.state) == OLD.sha256
    for counter in range(2, 6):
        scene.repository.now = datetime.now(UTC) + timedelta(days=30)
        scene.repository.publish([row(tiny_onnx(counter), counter)])
    newest = row(tiny_onnx(5), 5)
    with serving(scene.repository.folder) as server, clock_of_tuf(30 * DAY + 60):
        assert scene.once(server.url, clock=30 * DAY + 60).event == "installed"
        fetched = [path for path, _ in server.requests if path.endswith(".onnx")]
    assert in_use(scene.state) == newest.sha256
    assert len(fetched) == 1, "the newest directly"


def test_no_network_at_all(scene: Scene) -> None:
    scene.configure(url="http://127.0.0.1:9/")
    scene.refuses("unreachable")


def test_a_root_key_is_changed_while_offline(scene: Scene) -> None:
    for role in ("timestamp", "root", "targets"):
        scene.repository.rotate(role)
    scene.repository.publish([NEW])
    scene.installs()


# USB sticks

def test_a_stick_is_checked_like_everything(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.repository.publish([NEW])
    stick = scene.folder / "stick"
    shutil.copytree(scene.repository.folder, stick)
    scene.configure(url="http://127.0.0.1:9/")
    name = onnx_file(scene).relative_to(scene.repository.folder)
    good = (stick / name).read_bytes()
    (stick / name).write_bytes(flipped(good, random.Random(0)))
    assert cli.main(["install-usb", str(stick), "--state", str(scene.state)]) == 4
    assert "tampered" in capsys.readouterr().err
    (stick / name).unlink()
    (stick / name).symlink_to("/dev/zero")
    assert cli.main(["install-usb", str(stick), "--state", str(scene.state)]) == 3
    assert in_use(scene.state) == OLD.sha256
    (stick / name).unlink()
    (stick / name).write_bytes(good)
    assert cli.main(["install-usb", str(stick), "--state", str(scene.state)]) == 0
    assert in_use(scene.state) == NEW.sha256


def test_an_old_stick(scene: Scene) -> None:
    stick = scene.folder / "stick"
    shutil.copytree(scene.repository.folder, stick)
    scene.repository.publish([NEW])
    scene.installs()
    assert scene.once(str(stick)).code == "replayed"
    assert in_use(scene.state) == NEW.sha256


def test_reports_reach_a_web_server(scene: Scene) -> None:
    scene.repository.publish([NEW])
    with serving(scene.repository.folder) as server:
        scene.configure(report=f"{server.url}/reports")
        server.answer = 503
        scene.installs()
        assert len(list((scene.state / "outbox").iterdir())) == 1, "kept"
        server.answer = 204
        scene.once()
        assert not list((scene.state / "outbox").iterdir())
        assert len(server.posted) == 2
