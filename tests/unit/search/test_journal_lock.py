from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

from nas_pipeline.search.journal_lock import KernelLock


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from nas_pipeline.search.journal_lock import KernelLock\n"
        "KernelLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], check=False)
    assert done.returncode == -signal.SIGKILL
    lock = KernelLock(tmp_path / "lock")
    assert lock.acquire()
    lock.release()


def test_only_one_holds_it(tmp_path: Path) -> None:
    first, second = KernelLock(tmp_path / "lock"), KernelLock(tmp_path / "lock")
    first.acquire()
    got = threading.Event()
    waiting = threading.Thread(target=lambda: (second.acquire(), got.set(), second.release()))
    waiting.start()
    assert not got.wait(0.2)
    first.release()
    waiting.join(10)
    assert got.is_set()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
