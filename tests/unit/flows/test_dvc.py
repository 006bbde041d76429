"""Stages through DVC: which are stale, which are run, and which error is raised."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import psutil
import pytest

from flows.dvc import changed_stages, reproduce, stage_names
from nas_pipeline.errors import ConfigError, DataRefusal, NasError, StageBusy, TrackingUnavailable, Transient


def ignore(_line: str) -> None:
    """Ignores a line."""


def fail(root: Path, **how: object) -> None:
    (root / "fail.json").write_text(json.dumps(how))


def test_names_in_the_order_of_the_file_with_targets_resolved(root: Path) -> None:
    expected = ["search"]
    expected += [f"{stage}@{target}" for stage in ("export", "verify") for target in ("local-cpu", "raspberry-pi-4")]
    assert stage_names(root) == expected
    assert changed_stages(root) == set(expected)


def test_what_was_run_is_not_stale_until_something_changes(root: Path) -> None:
    lines: list[str] = []
    reproduce(root, "search", lines.append)
    assert lines[-1:] == ["working on search"]
    assert not [line for line in lines if "git add" in line or "dvc" in line.lower()]
    assert changed_stages(root, "search") == set()
    (root / "artifacts" / "search" / "winner.json").write_text("tampered")
    assert changed_stages(root, "search") == {"search"}
    reproduce(root, "search", ignore)
    assert json.loads((root / "artifacts" / "search" / "winner.json").read_text())["number"] == 27


def test_a_damaged_cache_entry_is_replaced(root: Path) -> None:
    reproduce(root, "search", ignore)
    for path in (root / ".dvc" / "cache" / "files").rglob("*"):
        if path.is_file() and b'"why"' in path.read_bytes():
            path.chmod(0o644)
            path.write_bytes(path.read_bytes().replace(b"best", b"evil"))
    winner = root / "artifacts" / "search" / "winner.json"
    winner.unlink()
    reproduce(root, "search", ignore)
    assert json.loads(winner.read_text())["why"] == "best feasible"
    assert changed_stages(root, "search") == set()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("DataRefusal", DataRefusal), ("TrackingUnavailable", TrackingUnavailable), ("StageBusy", StageBusy),
     ("UnknownError", NasError)],
)
def test_the_error_in_error_json_is_raised(root: Path, name: str, kind: type[NasError]) -> None:
    fail(root, stage="search", type=name, message="row 7 is black")
    with pytest.raises(NasError, match=r"^row 7 is black$") as caught:
        reproduce(root, "search", ignore)
    assert type(caught.value) is kind


def test_a_stage_without_error_json_is_quoted_and_an_old_error_is_ignored(root: Path) -> None:
    fail(root, stage="search", code=137)
    (root / "artifacts" / "search").mkdir(parents=True)
    (root / "artifacts" / "search" / "error.json").write_text('{"type": "DataRefusal", "message": "of last week"}')
    with pytest.raises(NasError, match="working on search") as caught:
        reproduce(root, "search", ignore)
    assert type(caught.value) is NasError
    assert "of last week" not in str(caught.value)


def test_an_interrupted_stage_leaves_no_process(root: Path) -> None:
    stage = root / "stage.py"
    stage.write_text("import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(60)\n")
    seen: list[int] = []

    def interrupt(line: str) -> None:
        if line.startswith("pid "):
            seen.append(int(line.split()[1]))
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        reproduce(root, "search", interrupt)
    assert time.monotonic() - begun < 30
    assert not psutil.pid_exists(seen[0]) or psutil.Process(seen[0]).status() == psutil.STATUS_ZOMBIE


def test_a_stage_that_another_process_runs_is_transient(root: Path) -> None:
    reproduce(root, "search", ignore)
    lock = {"write": {str(root / "artifacts" / "search"): {"pid": os.getpid(), "cmd": "dvc repro"}}}
    (root / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(lock))
    (root / "stage.py").write_text((root / "stage.py").read_text() + "\n# changed\n")
    with pytest.raises(StageBusy):
        reproduce(root, "search", ignore)


def test_a_locked_repository_names_the_lock_and_is_transient(root: Path) -> None:
    import zc.lockfile

    changed_stages(root, "search")
    path = root / ".dvc" / "tmp" / "lock"
    held = zc.lockfile.LockFile(str(path))
    try:
        with pytest.raises(StageBusy, match=f"another process holds DVC's lock, {path}: wait") as caught:
            changed_stages(root, "search")
        assert isinstance(caught.value, Transient)
        with pytest.raises(StageBusy):
            reproduce(root, "search", ignore)
    finally:
        held.close()
    assert not (root / "artifacts").exists(), "no stage was started"
    reproduce(root, "search", ignore)


def test_an_invalid_dvc_yaml_is_a_config_error(root: Path, tmp_path: Path) -> None:
    (root / "dvc.yaml").write_text("stages: {one: {cmd: [}}")
    with pytest.raises(ConfigError, match="DVC cannot read"):
        stage_names(root)
