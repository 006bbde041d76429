"""`nas fleet` for devices, through the command line."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nas_pipeline.actions.fleet import open_fleet
from nas_pipeline.cli.app import app
from nas_pipeline.errors import FleetError
from tests.unit.actions.test_fleet import MODEL, REPO, TARGET, _release, run
from tests.unit.fleet.toy_device import ToyDevice


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = (REPO / "params.yaml").read_text().replace(
        "  approval: false", "  drop: drop\n  rollout: {min_hours: 0.0, min_reports: 1}\n  approval: false", 1)
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "drop").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # no server listens there
    run(tmp_path, "init")
    return tmp_path


def says(root: Path, device: ToyDevice, content: bytes, counter: int, event: str = "installed", **more: Any) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    envelope = device.says(event, model=MODEL, counter=counter, sha256=sha256, **more)
    (root / "drop" / f"{device.name}-{device.seq}.json").write_bytes(envelope)


def test_devices_from_enrolment_to_a_roll_out(root: Path) -> None:
    devices = [ToyDevice(f"pi-{number}", TARGET) for number in range(4)]
    lines = root / "devices.txt"
    lines.write_text("\n".join(device.line for device in devices) + "\n")
    assert run(root, "enrol", str(lines)).count("enrolled for local-cpu") == 4
    assert "was enrolled" in run(root, "enrol", str(lines))
    assert "pi-3 is retired" in run(root, "retire", "pi-3")
    assert [row["device"] for row in json.loads(run(root, "devices", "--json"))] == ["pi-0", "pi-1", "pi-2"]
    _release(root, b"one", 1)
    _release(root, b"two", 2, share=9999)
    assert "waits - ok from 0 of 3 devices" in run(root, "rollout")
    for device in devices[:3]:
        says(root, device, b"two", 2)
    says(root, devices[3], b"two", 2)
    collected = run(root, "collect", "--keep-days", "30")
    assert "3 reports accepted, 1 quarantined" in collected
    assert "retired_device" in collected
    output = run(root, "rollout")
    assert "widened" in output
    assert "the registry is not updated yet" in output
    assert "release 2 " in run(root, "devices").replace("  ", " ")
    assert "fleet.html" in run(root, "page")
    assert "pi-1" in (root / "reports" / "fleet.html").read_text()


def test_a_drop_inside_the_store_is_refused(root: Path) -> None:
    with pytest.raises(FleetError, match="inside the store"):
        run(root, "collect", "--drop", "fleet/repository/drop")


def test_the_receiver_and_the_registry_are_commands() -> None:
    for words in (["fleet", "receive", "--help"], ["registry", "rebuild", "--help"], ["fleet", "reconcile", "--help"]):
        assert CliRunner().invoke(app, words).exit_code == 0


def failing(root: Path) -> None:
    """A release that every device has, and one in waves that both devices report as crashed."""
    devices = [ToyDevice(f"pi-{number}", TARGET) for number in range(2)]
    (root / "devices.txt").write_text("\n".join(device.line for device in devices))
    run(root, "enrol", str(root / "devices.txt"))
    _release(root, b"one", 1)
    _release(root, b"two", 2, share=9999)
    for device in devices:
        about = {"counter": 2, "sha256": hashlib.sha256(b"two").hexdigest()}
        says(root, device, b"one", 1, "quarantined", code="crashed", about=about)


def test_a_stop_rolls_back(root: Path) -> None:
    failing(root)
    run(root, "collect")
    output = run(root, "rollout")
    assert "STOPPED - 100.0% failed" in output
    assert "release 3, version 1, for every device" in output
    assert [row.release.counter for row in open_fleet(root).release_list(TARGET, MODEL)] == [3]


def without_keys(root: Path) -> None:
    """Moves the private keys of the fleet away."""
    (root / "fleet" / "keys").rename(root / "stick")


def test_a_stop_that_cannot_be_signed_is_an_error(root: Path) -> None:
    failing(root)
    run(root, "collect")
    without_keys(root)
    command = "from nas_pipeline.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "fleet", "rollout", "--root", str(root)],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == FleetError.exit_code == 1, done.stderr
    for fact in (MODEL, "release 2", "100.0% failed", f"{TARGET}-1.pem", "--keys"):
        assert fact in done.stderr, done.stderr
    assert [row.release.counter for row in open_fleet(root).release_list(TARGET, MODEL)] == [2, 1], "nothing was signed"
    (root / "stick").rename(root / "fleet" / "keys")
    assert "release 3, version 1" in run(root, "rollout"), "the next run signs the stop"
