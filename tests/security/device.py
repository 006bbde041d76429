"""A real device in a folder: set-up, inspection and predictions. And a process that runs checks in forks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent import config
from edge_agent.agent import Agent
from edge_agent.slots import Slots
from tests.security.tuf_repository import CHANNELS, MODEL, SIDE, TARGET, TufRepository, answers

REPO = Path(__file__).parents[2]


def set_up(folder: Path, repository: TufRepository, *, floor: dict[str, Any] | None = None, url: str = "",
           **changes: Any) -> Path:
    """Sets up a new device below `folder`, without a model; returns its state folder."""
    state = folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    (folder / "drop").mkdir(exist_ok=True)
    lowest = None
    if floor is not None:
        lowest = folder / "floor.json"
        lowest.write_text(json.dumps(floor))
    settings: dict[str, Any] = {
        "device": "dev-1", "target": TARGET, "model": MODEL, "url": url or str(repository.folder),
        "report": str(folder / "drop"), "hardware": ("toy-board",)}
    config.init(state, repository.first_root, lowest, **(settings | changes))
    return state


def copy_of(state: Path, to: Path) -> Path:
    """Copies a device to another folder."""
    shutil.copytree(state.parent, to, symlinks=True)
    settings = json.loads((to / state.name / "config.json").read_bytes())
    (to / state.name / "config.json").write_text(json.dumps({**settings, "report": str(to / "drop")}))
    return to / state.name


def in_use(state: Path) -> str:
    """Returns the digest of the model in use, after a comparison of its logits with the signed ones.

    Raises:
        AssertionError: What is in use is not what was signed.
    """
    slot = Slots(state).current()
    if slot is None:
        return ""
    assert slot.whole
    golden = slot.card.golden
    pixels = np.frombuffer(golden.bytes_of("pixels"), np.uint8).reshape(-1, CHANNELS, SIDE, SIDE)
    wanted = np.frombuffer(golden.bytes_of("logits"), "<f4").reshape(len(pixels), -1)
    np.testing.assert_allclose(answers(slot.onnx.read_bytes(), pixels), wanted, atol=golden.tolerance)
    return slot.card.sha256


def reports(state: Path) -> list[dict[str, Any]]:
    """Returns the reports of the device, oldest first."""
    import base64

    drop = sorted((state.parent / "drop").glob("*.json"), key=lambda path: int(path.stem.rpartition("-")[2]))
    return [json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"])) for path in drop]


class Forks:
    """Runs checks, each in a fork that starts quickly: `once` as the command does it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "tests.security.device"], cwd=REPO, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=os.environ | {"PYTHONPATH": str(REPO)})

    def once(self, state: Path, *, fail_at: str = "", kill_after_s: float = 0) -> dict[str, Any]:
        """Runs one check; returns its outcome, whether it was killed, and its duration in seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        ask = {"state": str(state), "fail_at": fail_at, "kill_after_s": kill_after_s}
        self.process.stdin.write(json.dumps(ask) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@contextmanager
def forks() -> Iterator[Forks]:
    """Yields a process with loaded modules, and ends it."""
    forks_of_test = Forks()
    with forks_of_test.process:
        yield forks_of_test
        assert forks_of_test.process.stdin is not None
        forks_of_test.process.stdin.close()


def _answer(ask: dict[str, Any]) -> dict[str, Any]:
    read, write = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.environ["NAS_AGENT_FAIL_AT"] = ask["fail_at"]
        outcome = Agent(Path(ask["state"])).once()
        os.write(write, json.dumps({"event": outcome.event, "code": outcome.code, "detail": outcome.detail}).encode())
        os._exit(outcome.status)
    os.close(write)
    if ask["kill_after_s"]:
        time.sleep(ask["kill_after_s"])
        for kill, whom in ((os.killpg, child), (os.kill, child)):
            try:
                kill(whom, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it has no process group yet, or has ended
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    outcome = json.loads(text) if text else {}
    return {**outcome, "killed": os.WIFSIGNALED(status), "seconds": time.monotonic() - start}


if __name__ == "__main__":
    import edge_agent.probation  # noqa: F401  # warm

    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answer(json.loads(line))) + "\n")
        sys.stdout.flush()
