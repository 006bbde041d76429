"""Forged, changed, replayed and oversized reports: none is accepted, and none has another effect."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from securesystemslib.signer import CryptoSigner

from edge_agent.contract.wire import canonical
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.reports.collect import QUARANTINE, check_outside_store, collect
from nas_pipeline.fleet.reports.drop import FolderDrop
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.reports.receiver import server
from nas_pipeline.fleet.reports.signed import MAX_BYTES, parse_enrolment
from tests.unit.fleet.toy_device import ToyDevice
from tests.unit.fleet.toy_fleet import MODEL, TARGET, report

NOW = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)


@pytest.fixture
def device() -> ToyDevice:
    return ToyDevice()


@pytest.fixture
def intake(tmp_path: Path, device: ToyDevice) -> Iterator[Intake]:
    intake = Intake(tmp_path / "reports.db", clock=lambda: NOW)
    intake.enrol(device.enrolment)
    yield intake
    intake.close()


def test_what_an_enrolled_device_signed_is_taken_once(intake: Intake, device: ToyDevice) -> None:
    first = device.says()
    assert intake.accept(first).reason == "taken"
    assert intake.accept(first).reason == "known", "the answer got lost, and the agent sends it again"
    (heard,) = intake.reports(TARGET, MODEL)
    assert (heard.report.device, heard.report.seq, heard.report.probation) == ("pi-1", 1, {"p95_ms": 3.5})


def test_a_replay_is_refused(intake: Intake, device: ToyDevice) -> None:
    first, second = device.says(), device.says("current", about={})
    assert intake.accept(first).accepted
    assert intake.accept(second).accepted
    assert intake.accept(first).reason == "replayed"
    assert intake.accept(device.says(seq=2, detail="another one under the same number")).reason == "replayed"
    assert len(intake.reports(TARGET)) == 2


def test_no_changed_bit_is_taken(intake: Intake, device: ToyDevice) -> None:
    content, chance = bytearray(device.says()), random.Random(0)
    for _ in range(300):
        changed = bytearray(content)
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        answer = intake.accept(bytes(changed))
        if answer.accepted:  # a bit of the JSON around the payload, such as an unused bit of base64, changes no report
            assert json.loads(base64.b64decode(json.loads(changed)["payload"]))["seq"] == 1
            assert answer.device == "pi-1"
    assert len(intake.reports(TARGET)) <= 1
    for end in range(0, len(content), 37):
        assert not intake.accept(bytes(content[:end])).accepted


def test_another_key_even_an_enrolled_one_signs_for_nobody_else(intake: Intake, device: ToyDevice) -> None:
    other = ToyDevice("pi-2")
    intake.enrol(other.enrolment)
    assert intake.accept(other.signs(report("pi-1", 1))).reason == "bad_signature"
    forger = ToyDevice("pi-1")
    assert intake.accept(forger.says()).reason == "bad_signature"
    envelope = json.loads(forger.says())
    envelope["signatures"][0]["keyid"] = device.signer.public_key.keyid
    assert intake.accept(json.dumps(envelope).encode()).reason == "bad_signature"
    assert intake.accept(ToyDevice("pi-3").says()).reason == "unknown_device"
    assert intake.reports(TARGET) == []


@pytest.mark.parametrize(("change", "reason"), [
    ({"target": "jetson"}, "wrong_family"),
    ({"event": "celebrated"}, "not_a_report"),
    ({"code": "fine"}, "not_a_report"),
    ({"seq": 0}, "replayed"),
    ({"seq": -1}, "not_a_report"),
    ({"seq": 2**63}, "not_a_report"),
    ({"counter": 10**30}, "not_a_report"),
    ({"about": {"counter": "2; drop table"}}, "not_a_report"),
    ({"model": "../../etc/passwd"}, "not_a_report"),
    ({"model": "Robert'); DROP TABLE devices;--"}, "not_a_report"),
    ({"sha256": "x" * 64}, "not_a_report"),
    ({"detail": "x" * 5000}, "not_a_report"),
    ({"detail": "nul \0 in it"}, "not_a_report"),
    ({"detail": "\ud800"}, "not_a_report"),
])
def test_signed_nonsense_is_refused(intake: Intake, device: ToyDevice, change: dict[str, Any], reason: str) -> None:
    values = {"seq": 1, "event": "installed", **change}
    said = report("pi-1", values.pop("seq"), values.pop("event"), **{"about": {}, **values})
    assert intake.accept(device.signs(said)).reason == reason
    assert intake.reports(TARGET) == []


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 20_000, b'{"payload": 1}', b'{"payload": "", "payloadType": "x"}',
    b'{"payload": "e30=", "payloadType": "application/vnd.nas.device-report+json", "signatures": []}',
    b'{"payload": "e30=", "payloadType": "application/vnd.nas.device-report+json", "signatures": [{"sig": "%%"}]}',
])
def test_what_is_no_envelope_is_told_so(intake: Intake, content: bytes) -> None:
    assert intake.accept(content).reason == "not_an_envelope"


def test_a_signature_of_another_kind_of_document_is_none_of_a_report(intake: Intake, device: ToyDevice) -> None:
    said = report("pi-1", 1)
    assert intake.accept(device.signs(canonical(asdict(said)), "application/other")).reason == "not_an_envelope"


def test_a_lower_counter_is_taken_and_flagged(intake: Intake, device: ToyDevice) -> None:
    intake.accept(device.says(counter=7))
    assert intake.accept(device.says("current", counter=3, about={})).accepted
    (found,) = intake.devices(TARGET)
    assert found.counter == 7, "the highest is remembered"
    assert found.flags == ("2026-05-03 counter 3 below 7: device wiped or cloned",)


def test_a_jump_and_a_wrong_clock_are_flagged(intake: Intake, device: ToyDevice) -> None:
    intake.accept(device.says(seq=5))
    assert intake.accept(device.says(seq=5000, time="2106-02-07T06:28:15Z")).accepted
    assert intake.accept(device.says(seq=5001, time="1970-01-01T00:00:00Z")).accepted
    assert intake.accept(device.says(seq=5002, time="<script>")).accepted
    assert intake.accept(device.says(seq=5003, time="2026-04-01T00:00:00Z")).accepted, "a month offline is tolerated"
    (found,) = intake.devices(TARGET)
    assert [flag[11:] for flag in found.flags] == [
        "number 5000 after 5: reports lost, or device cloned", "device clock '2106-02-07'",
        "device clock '1970-01-01'", "device clock '<script>'",
    ]


def test_a_new_key_ends_the_old_one(intake: Intake, device: ToyDevice) -> None:
    intake.accept(device.says())
    fresh = ToyDevice(device.name)
    assert intake.enrol(fresh.enrolment)
    assert not intake.enrol(fresh.enrolment), "twice is once"
    assert intake.accept(device.says()).reason == "bad_signature"
    assert intake.accept(fresh.says()).reason == "taken"
    assert len(intake.reports(TARGET)) == 1
    assert len(intake.reports(TARGET, ever=True)) == 2


def test_a_retired_device_is_heard_no_more(intake: Intake, device: ToyDevice) -> None:
    intake.accept(device.says())
    intake.retire(device.name)
    assert intake.accept(device.says()).reason == "retired_device"
    assert (intake.devices(), intake.reports(TARGET)) == ([], [])
    with pytest.raises(FleetError, match="no device 'nobody'"):
        intake.retire("nobody")


def test_a_device_does_not_change_its_family(intake: Intake) -> None:
    with pytest.raises(FleetError, match="is enrolled for pi, not jetson"):
        intake.enrol(ToyDevice("pi-1", "jetson").enrolment)


@pytest.mark.parametrize("line", [
    "", "{}", "[1]", '{"device": "../x", "target": "pi", "keyid": "a", "key": {}}',
    json.dumps({"device": "x", "target": "pi", "keyid": "a",
                "key": CryptoSigner.generate_ecdsa().public_key.to_dict()}),
], ids=["empty", "nothing in it", "no table", "a bad name", "another kind of key"])
def test_an_enrolment_is_checked(line: str) -> None:
    with pytest.raises(FleetError, match="nas-agent init"):
        parse_enrolment(line)


def test_two_that_bring_the_same_report_at_once(intake: Intake, device: ToyDevice) -> None:
    content, answers = device.says(), []
    threads = [threading.Thread(target=lambda: answers.append(intake.accept(content).reason)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["known", "known", "known", "taken"]


@contextlib.contextmanager
def serving(intake: Intake) -> Iterator[httpx.Client]:
    """A client of a receiver on loopback."""
    running = server(intake.accept, "127.0.0.1", 0)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
            yield client
    finally:
        running.should_exit = True
        thread.join(10)


def test_over_http_a_device_can_report_and_nothing_else(tmp_path: Path, intake: Intake, device: ToyDevice) -> None:
    with serving(intake) as client:
        content = device.says()
        assert client.post("/reports", content=content).status_code == 202
        assert client.post("/reports", content=content).status_code == 202
        assert client.post("/reports", content=device.says(seq=1, detail="again")).status_code == 409
        assert client.post("/reports", content=b"x" * (MAX_BYTES + 1)).status_code == 413
        with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError):  # the receiver closes the connection
            assert client.post("/reports", content=(b"x" * 4096 for _ in range(40))).status_code == 413
        unknown, forged = ToyDevice("pi-9").says(), ToyDevice("pi-1").says()
        answers = [client.post("/reports", content=each) for each in (unknown, forged)]
        assert [(each.status_code, each.text) for each in answers] == [(403, '{"answer": "refused"}')] * 2
        assert client.get("/health").status_code == 200
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            assert client.request(method, "/reports", content=content).status_code == 405
        for path in ("/", "/devices", "/docs", "/openapi.json", "/metadata/timestamp.json", "/reports/1"):
            assert client.request("POST", path, content=content).status_code in {404, 405}
            assert client.get(path).status_code in {404, 405}
    with sqlite3.connect(tmp_path / "reports.db") as database:
        assert database.execute("select count(*) from devices").fetchone() == (1,)
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["reports.db"] * len(
        list(tmp_path.iterdir()))


def test_a_drop_is_emptied_and_what_is_bad_is_put_aside(tmp_path: Path, intake: Intake, device: ToyDevice) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    for number in range(1, 13):  # in the order of names, 10 comes before 2
        (drop / f"pi-1-{number}.json").write_bytes(device.says())
    (drop / "pi-1-99.json").write_bytes(ToyDevice("pi-1").says())
    (drop / "pi-1-7000.json").write_bytes(b"x" * (MAX_BYTES * 3))
    (drop / "<b>.json").write_bytes(b"{}")
    (drop / ".pi-1-13.json.new").write_bytes(b"half")
    secret = tmp_path / "secret"
    secret.write_text("of ours")
    (drop / "pi-1-14.json").symlink_to(secret)
    done = collect(FolderDrop(drop), intake.accept)
    assert done.accepted == 12
    assert [each.rpartition(": ")[2] for each in done.rejected] == ["not_an_envelope", "bad_signature", "too_large"]
    assert sorted(path.name for path in drop.iterdir()) == [".pi-1-13.json.new", "pi-1-14.json", QUARANTINE]
    assert sorted(path.name for path in (drop / QUARANTINE).iterdir()) == [
        "_b_.json", "_b_.json.why", "pi-1-7000.json", "pi-1-7000.json.why", "pi-1-99.json", "pi-1-99.json.why"]
    assert (drop / QUARANTINE / "pi-1-7000.json").stat().st_size == MAX_BYTES
    assert "of ours" not in "".join(path.read_text() for path in (drop / QUARANTINE).iterdir())
    assert collect(FolderDrop(drop), intake.accept).accepted == 0
    assert collect(FolderDrop(tmp_path / "none"), intake.accept).accepted == 0


def test_a_drop_that_was_read_before_a_crash_is_read_again(tmp_path: Path, intake: Intake, device: ToyDevice) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "pi-1-1.json").write_bytes(content := device.says())
    intake.accept(content)
    done = collect(FolderDrop(drop), intake.accept)
    assert (done.accepted, done.rejected) == (0, ())
    assert list(drop.iterdir()) == []


def test_a_drop_is_no_part_of_the_store(tmp_path: Path) -> None:
    check_outside_store(str(tmp_path / "drop"), str(tmp_path / "store"))
    check_outside_store("s3://a/drop", "s3://a/store")
    for drop, store in ((tmp_path / "store" / "drop", tmp_path / "store"), ("s3://a/x/drop", "s3://a/x")):
        with pytest.raises(FleetError, match="inside the store"):
            check_outside_store(str(drop), str(store))


def test_old_reports_are_forgotten_and_a_replay_of_them_is_still_one(intake: Intake, device: ToyDevice) -> None:
    first = device.says()
    intake.accept(first)
    intake.accept(device.says())
    assert intake.delete_before(NOW) == 0
    assert intake.delete_before(datetime(2027, 1, 1, tzinfo=UTC)) == 2
    assert intake.accept(first).reason == "replayed"
    assert intake.devices()[0].seq == 2
