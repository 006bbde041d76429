"""A publisher killed or with a full disk at any write: devices see old or new, and a second run completes it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from nas_pipeline.core.failpoints import VARIABLE
from nas_pipeline.errors import FleetError, StorageError
from nas_pipeline.fleet.tuf.create_fleet import create_fleet
from nas_pipeline.fleet.tuf.releases import added
from nas_pipeline.fleet.tuf.repository import ANCHOR, Repository
from nas_pipeline.fleet.tuf.rotation import resign, rotate
from tests.unit.fleet.toy_releases import (
    MODEL,
    TARGET,
    Client,
    client_of,
    entry_of,
    publish,
    row_of,
    settings_of,
    sign_list,
)

POINTS = ("journal_intent", "target_files", "target", "snapshot", "timestamp", "journal_done")
ROTATION_POINTS = ("journal_intent", "target", "targets", "snapshot", "timestamp", "root", "journal_done")
PUBLISHED = {2: b"two"}


def dies(at: str, act: Callable[[], object]) -> None:
    """Runs `act` in a process that is killed at failpoint `at`, if it reaches it."""
    child = os.fork()
    if child == 0:
        try:
            os.environ[VARIABLE] = at
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL


def _second(fleet: Repository) -> None:
    row = row_of(b"two", 2)
    published = fleet.release_list(TARGET, MODEL)
    rows = added(published, row) if published[0].release.counter < 2 else (row,)
    sign_list(fleet, TARGET, MODEL, rows, files={row.card.onnx: b"two"}, entry=entry_of(row))


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_write_devices_see_old_or_new(fleet: Repository, client: Client, point: str) -> None:
    dies(point, lambda: _second(fleet))
    assert client.look() == (PUBLISHED if point == "journal_done" else {1: b"one"})
    assert fleet.highest_counter(TARGET, MODEL) == (1 if point == "journal_intent" else 2)
    _second(fleet)
    assert client.look() == PUBLISHED
    assert [entry.counter for entry in fleet.journal.entries() if entry.kind == "published"] == [1, 2]
    assert not fleet.journal.unfinished()
    fleet.verify_journal(fleet.trusted())


@pytest.mark.parametrize("point", POINTS)
def test_a_full_disk_at_any_write_is_told_and_changes_nothing(
    fleet: Repository, client: Client, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"{point}:full")
    with pytest.raises(StorageError if point.startswith("journal") else OSError):
        _second(fleet)
    assert client.look() == (PUBLISHED if point == "journal_done" else {1: b"one"})
    monkeypatch.delenv(VARIABLE)
    _second(fleet)
    assert client.look() == PUBLISHED
    assert not fleet.journal.unfinished()


@pytest.mark.parametrize("point", ["target", "snapshot", "timestamp"])
def test_another_change_after_a_kill_takes_another_counter(fleet: Repository, client: Client, point: str) -> None:
    dies(point, lambda: _second(fleet))
    other = publish(fleet, b"three")
    assert other.release.counter == 3
    assert client.look() == {3: b"three"}
    with pytest.raises(FleetError, match="not above 3"):
        _second(fleet)


@pytest.mark.parametrize("role", ["root", "targets", TARGET, "snapshot", "timestamp"])
def test_killed_in_a_rotation_devices_lose_nothing(fleet: Repository, client: Client, role: str) -> None:
    for point in ROTATION_POINTS:
        dies(point, lambda: rotate(fleet, role, who="alice"))
        assert client.look() == {1: b"one"}, point
        resign(fleet, who="alice")
        assert client.look() == {1: b"one"}, point
    rotate(fleet, role, who="alice")
    publish(fleet, b"two")
    assert client.look() == PUBLISHED


@pytest.mark.parametrize("role", ["root", "targets", TARGET])
def test_a_full_disk_in_a_rotation_changes_nothing_for_devices(
    fleet: Repository, client: Client, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for point in ROTATION_POINTS:
        monkeypatch.setenv(VARIABLE, f"{point}:full")
        with contextlib.suppress(OSError, StorageError):  # not every role reaches every failpoint
            rotate(fleet, role, who="alice")
        assert client.look() == {1: b"one"}, point
    monkeypatch.delenv(VARIABLE)
    rotate(fleet, role, who="alice")
    publish(fleet, b"two")
    assert client.look() == PUBLISHED


def test_a_full_disk_in_init_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path)
    monkeypatch.setenv(VARIABLE, "init:full")
    with pytest.raises(OSError, match="No space"):
        create_fleet(settings, who="alice")
    monkeypatch.delenv(VARIABLE)
    done = create_fleet(settings, who="alice")
    publish(done.repository, b"one")
    assert client_of(done.repository, tmp_path / "client").look() == {1: b"one"}


def test_killed_in_init_the_same_command_goes_on(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    dies("init", lambda: create_fleet(settings, who="alice"))
    assert (settings.folder / ANCHOR).is_file()
    done = create_fleet(settings, who="alice")
    assert done.created
    assert len(done.repository.keys.keys_for("root")) == 3
    publish(done.repository, b"one")
    assert client_of(done.repository, tmp_path / "client").look() == {1: b"one"}


def test_of_eight_publishers_at_once_one_wins_each_counter(fleet: Repository, client: Client) -> None:
    children = []
    reader, writer = os.pipe()
    for number in range(8):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(writer)
                os.read(reader, 1)  # all children continue when the parent closes its end
                row = row_of(b"publisher %d" % number, 2)
                sign_list(fleet, TARGET, MODEL, (row,), files={row.card.onnx: b"publisher %d" % number},
                              entry=entry_of(row))
                code = 0
            except FleetError:
                code = 7
            finally:
                os._exit(code)
        children.append(child)
    os.close(reader)
    os.close(writer)
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert codes == [0] + [7] * 7
    assert list(client.look()) == [2]
    publish(fleet, b"after")
    counters = [entry.counter for entry in fleet.journal.entries() if entry.kind == "published"]
    assert counters == [1, 2, 3]
    fleet.verify_journal(fleet.trusted())
