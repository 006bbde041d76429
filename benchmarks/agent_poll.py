"""Cost of a check of the agent without a new release: bytes on the wire, processor time, memory.

    python -m benchmarks.agent_poll --rounds 30

Three processes run in turns: `nas-agent once` as a timer starts it, a bare python-tuf refresh, and an idle interpreter.
The server counts the bytes: the bodies of its responses.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from edge_agent.agent import Agent
from tests.security.device import set_up
from tests.security.tuf_repository import TufRepository, row, tiny_onnx
from tests.security.web import Handler, serving

REPO = Path(__file__).parents[1]
_REFRESH = """
import sys
from pathlib import Path
from tuf.ngclient import Updater
folder, url = sys.argv[1:]
Updater(folder, url + "/metadata/", bootstrap=Path(folder, "first.json").read_bytes()).refresh()
"""


@dataclass(frozen=True)
class Cost:
    """Cost of one process."""

    cpu_s: float
    peak_mb: float
    requests: int
    body: int
    """Bytes of the responses, without headers."""


class Meter:
    """Counts the bytes of responses; a missing file (the next root, requested at each check) has no body here."""

    def __init__(self) -> None:
        self.body = 0

    def behave(self, handler: Handler, content: bytes) -> None:
        """Responds as a web server does."""
        first = handler.start(content)
        handler.wfile.write(content[first:])
        self.body += len(content) - first


_LAUNCHER = """
import json, os, subprocess, sys
for line in sys.stdin:
    child = subprocess.Popen(json.loads(line), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss]), flush=True)
"""
"""The peak memory of a process includes that of its parent at the fork: so a small process starts the others."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent_poll")
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder, "tuf"), meter.behave) as web:
        repository = TufRepository(Path(folder, "tuf"))
        repository.publish([row(tiny_onnx(1), 1)])
        state = set_up(Path(folder, "device"), repository, url=web.url)
        assert Agent(state).once().event == "installed"
        bare = Path(folder, "bare")
        bare.mkdir()
        (bare / "first.json").write_bytes(repository.first_root.read_bytes())
        commands: dict[str, list[str]] = {
            "nas-agent once": [sys.executable, "-m", "edge_agent.cli", "once", "--state", str(state)],
            "python-tuf refresh": [sys.executable, "-c", _REFRESH, str(bare), web.url],
            "an idle interpreter": [sys.executable, "-c", "pass"],
        }
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        with subprocess.Popen([sys.executable, "-S", "-c", _LAUNCHER], cwd=REPO, text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as launcher:
            for number in range(rounds + 1):
                for name, command in commands.items():
                    cost = run(launcher, command, meter, web.requests)
                    costs[name] += [cost] * (number > 0)  # the first round fills caches and writes byte code
            assert launcher.stdin is not None
            launcher.stdin.close()
    print(f"Python {platform.python_version()}, tuf {version('tuf')}, securesystemslib {version('securesystemslib')}, "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; medians of {rounds}, in turns (minimum to maximum)")
    print("| process | requests | bytes of responses | CPU ms | peak RSS MB |")
    print("|---|---|---|---|---|")
    for name, samples in costs.items():
        print(f"| {name} | {samples[0].requests} | {middle(samples, lambda c: c.body)} | "
              f"{middle(samples, lambda c: 1000 * c.cpu_s)} | {middle(samples, lambda c: c.peak_mb)} |")


def run(launcher: subprocess.Popen[str], command: list[str], meter: Meter, log: list[tuple[str, str | None]]) -> Cost:
    """Runs one process to its end."""
    assert launcher.stdin is not None
    assert launcher.stdout is not None
    requests, body = len(log), meter.body
    launcher.stdin.write(json.dumps(command) + "\n")
    launcher.stdin.flush()
    status, cpu_s, peak_kib = json.loads(launcher.stdout.readline())
    assert status == 0, command
    return Cost(cpu_s, peak_kib / 1024, len(log) - requests, meter.body - body)


def middle(costs: list[Cost], of: Callable[[Cost], float]) -> str:
    """Formats median, minimum and maximum."""
    values = sorted(of(cost) for cost in costs)
    median = statistics.median(values)
    return f"{median:,.0f}" if values[0] == values[-1] else f"{median:,.0f} ({values[0]:,.0f} to {values[-1]:,.0f})"


if __name__ == "__main__":
    main()
