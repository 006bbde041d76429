"""A disk that is full, read only or not accessible: the message names the path, and no file is incomplete."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from nas_pipeline.core.disk import storage_error
from nas_pipeline.core.files import write_text
from nas_pipeline.errors import StorageError


def test_a_full_disk_leaves_the_old_file_whole(small_disk: Path) -> None:
    target = small_disk / "report.json"
    write_text(target, "old")
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(target, "x" * 1_000_000)
    converted = storage_error(caught.value, Path("elsewhere"))
    assert isinstance(converted, StorageError)
    start = f"{target} cannot be written: the disk or the quota is full (0 MB of 0 MB are free)"
    assert str(converted).startswith(start)
    assert "`dvc gc --workspace`" in str(converted)
    assert (target.read_text(), list(small_disk.iterdir())) == ("old", [target])


def test_a_disk_that_is_read_only_is_named(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OSError, match="Read-only") as caught:
        write_text(small_disk / "report.json", "new")
    assert "the file system is read only" in str(storage_error(caught.value, small_disk))


def test_a_limit_on_file_size_leaves_the_old_file_whole(tmp_path: Path) -> None:
    """In a subprocess, because the limit applies to a whole process."""
    (tmp_path / "a.json").write_text("old")
    code = (
        "import sys, signal, pathlib\nfrom nas_pipeline.core.files import write_text\n"
        "from nas_pipeline.core.disk import storage_error\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n    write_text(pathlib.Path(sys.argv[1], 'a.json'), 'x' * 100_000)\n"
        "except OSError as error:\n    sys.exit(str(storage_error(error, pathlib.Path())))\n"
    )
    limit = 10_000
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert f"{tmp_path / 'a.json'} cannot be written: the disk or the quota is full" in done.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x/a"), "/srv/x/a cannot be used: permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "/srv/a"), "/srv/a cannot be written: the file system is"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "here/work cannot be written: the disk"),
    ],
)
def test_the_place_is_that_of_the_error_or_where_was_written(error: Exception, words: str) -> None:
    assert words in str(storage_error(error, Path("here/work")))


def test_the_cause_counts() -> None:
    error = ValueError("cannot save")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert storage_error(error, Path("here")) is not None


@pytest.mark.parametrize("error", [ValueError("no"), PermissionError(errno.EPERM, "not your process"),
                                   FileNotFoundError(errno.ENOENT, "nothing there", "a")])
def test_what_is_not_the_disk_s_fault_is_left_alone(error: Exception) -> None:
    assert storage_error(error, Path("here")) is None
