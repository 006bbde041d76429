from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

from nas_pipeline.search.journal_lock import KernelLock
from nas_pipeline.search.study import open_study


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from nas_pipeline.search.journal_lock import KernelLock\n"
        "KernelLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.log")], check=False)
    assert done.returncode == -signal.SIGKILL
    lock = KernelLock(tmp_path / "a.log")
    assert lock.acquire()
    lock.release()


def test_only_one_holds_it(tmp_path: Path) -> None:
    first, second = KernelLock(tmp_path / "a.log"), KernelLock(tmp_path / "a.log")
    first.acquire()
    got = threading.Event()
    waiting = threading.Thread(target=lambda: (second.acquire(), got.set(), second.release()))
    waiting.start()
    assert not got.wait(0.2)
    first.release()
    waiting.join(10)
    assert got.is_set()
    assert {path.name for path in tmp_path.iterdir()} == {"a.log", "a.lock"}


def test_half_a_line_of_a_writer_that_died_is_cut_off(tmp_path: Path) -> None:
    url = f"journal://{tmp_path / 'a.log'}"
    study = open_study(url, "s", ["maximize"])
    study.ask()
    whole = (tmp_path / "a.log").read_bytes()
    with (tmp_path / "a.log").open("ab") as journal:
        journal.write(b'{"op_code":4,"worker')
    open_study(url, "s", ["maximize"]).tell(0, 1.0)
    assert (tmp_path / "a.log").read_bytes().startswith(whole + b'{"op_code"')
    assert [trial.value for trial in open_study(url, "s", ["maximize"]).trials] == [1.0]
