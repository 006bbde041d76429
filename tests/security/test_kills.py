"""Kills at any instant and full disks at any write: a working model stays in use, and no file is torn."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.agent import Agent
from edge_agent.disk import STEPS, WRITES
from edge_agent.fetch import RESERVE
from edge_agent.state import load
from tests.security.device import Forks, copy_of, forks, in_use, reports, set_up
from tests.security.tuf_repository import TufRepository, row, tiny_onnx

OLD, NEW = row(tiny_onnx(1), 1), row(tiny_onnx(2, padding=300_000), 2)


@pytest.fixture(scope="module")
def warm() -> Iterator[Forks]:
    with forks() as forks_of_test:
        yield forks_of_test


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, warm: Forks) -> Path:
    """Yields a device that runs the old model, with the new one listed."""
    folder = tmp_path_factory.mktemp("device")
    repository = TufRepository(folder / "repository")
    state = set_up(folder / "old", repository)
    repository.publish([OLD])
    assert warm.once(state)["event"] == "installed"
    repository.publish([NEW])
    return state


def finish(state: Path, warm: Forks) -> None:
    """Checks that the next check installs the new model with at most one retry."""
    outcome = warm.once(state)
    assert outcome["event"] in ("installed", "current"), outcome
    assert in_use(state) == NEW.sha256
    memory = load(state)
    assert memory is not None
    assert (memory.phase, memory.counter, memory.sha256) == ("idle", 2, NEW.sha256)
    assert not list((state / "download").iterdir())
    installed = [report for report in reports(state) if report["event"] == "installed"]
    assert [report["about"]["counter"] for report in installed] == [1, 2], "reported once"
    assert installed[-1]["probation"]["tries"] <= 2, "at most one retry"
    seqs = [report["seq"] for report in reports(state)]
    assert len(set(seqs)) == len(seqs)


@pytest.mark.parametrize("point", STEPS)
def test_a_kill_at_a_named_point(point: str, device: Path, warm: Forks, tmp_path: Path) -> None:
    state = copy_of(device, tmp_path / "copy")
    assert warm.once(state, fail_at=point)["killed"]
    assert in_use(state) == (NEW if point in ("flipped", "committed") else OLD).sha256
    finish(state, warm)


def random_kills(count: int, device: Path, warm: Forks, tmp_path: Path) -> None:
    stream = random.Random("random kills")
    whole = warm.once(copy_of(device, tmp_path / "whole"))["seconds"]
    killed = 0
    for number in range(count):
        state = copy_of(device, tmp_path / str(number))
        # The probation takes most of the time; every second kill targets the steps before it.
        until = whole if number % 2 else min(whole, 0.06)
        killed += warm.once(state, kill_after_s=stream.uniform(0.001, until))["killed"]
        assert in_use(state) in (OLD.sha256, NEW.sha256)
        finish(state, warm)
        shutil.rmtree(state.parent)
    assert killed > count / 2


@pytest.mark.slow
def test_kills_at_random(device: Path, warm: Forks, tmp_path: Path) -> None:
    random_kills(25, device, warm, tmp_path)


@pytest.mark.nightly
def test_many_kills_at_random(device: Path, warm: Forks, tmp_path: Path) -> None:
    random_kills(500, device, warm, tmp_path)


def test_a_kill_in_each_try_ends_in_quarantine(device: Path, warm: Forks, tmp_path: Path) -> None:
    state = copy_of(device, tmp_path / "copy")
    for _ in range(3):
        assert warm.once(state, fail_at="probation")["killed"]
    outcome = warm.once(state)
    assert (outcome["event"], outcome["code"]) == ("quarantined", "interrupted")
    assert in_use(state) == OLD.sha256
    assert warm.once(state)["code"] == "quarantined"
    assert [report["event"] for report in reports(state)][-2:] == ["quarantined", "refused"]


@pytest.mark.parametrize("write", WRITES)
def test_a_disk_that_is_full_at_a_write(write: str, device: Path, warm: Forks, tmp_path: Path) -> None:
    state = copy_of(device, tmp_path / "copy")
    outcome = warm.once(state, fail_at=f"{write}:full")
    if write != "write:outbox":  # there, only the report is delayed
        assert outcome["code"] == "disk_full"
    assert in_use(state) == (NEW if write == "write:outbox" else OLD).sha256
    finish(state, warm)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"phase": 3}', b"[]", None])
def test_a_torn_memory_bricks_nothing(damage: bytes | None, device: Path, warm: Forks, tmp_path: Path) -> None:
    state = copy_of(device, tmp_path / "copy")
    if damage is None:
        (state / "state.json").unlink()
    else:
        (state / "state.json").write_bytes(damage)
    finish(state, warm)


def test_torn_metadata_bricks_nothing(device: Path, warm: Forks, tmp_path: Path) -> None:
    state = copy_of(device, tmp_path / "copy")
    for path in (state / "metadata").rglob("*.json"):
        path.write_bytes(b"")
    finish(state, warm)


def test_a_disk_that_is_too_small(device: Path, warm: Forks, small_disk: Path) -> None:
    size = sum(path.stat().st_blocks * 512 for path in device.parent.rglob("*") if not path.is_symlink())
    assert size < 120_000
    os.system(f"mount -o remount,size=192k {small_disk}")
    state = copy_of(device, small_disk / "copy")
    for _ in range(2):
        outcome = warm.once(state)
        assert outcome["code"] == "disk_full"
        assert in_use(state) == OLD.sha256
    assert reports(state)[-1]["code"] == "disk_full"
    assert len(NEW.content) > 192 << 10 > RESERVE
    agent = Agent(state)
    assert agent.state().counter == 1
