"""`nas-agent bench FILE`: how long a model takes here, one image at a time; in a child, after the static checks."""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edge_agent.errors import AgentError
from edge_agent.inspect import check_content
from edge_agent.model import open_session
from edge_agent.probation import run_child

_BLOCK, _MAX_RUNS, _MAX_OPSET = 20, 5_000, 24
_WALL_S, _MEMORY_MB = 300.0, 2_048.0


def main(argv: Sequence[str] | None = None) -> int:
    """Print the answer as JSON; 4 where the file cannot be measured."""
    parser = argparse.ArgumentParser(prog="nas-agent bench", description="How long a model takes on this device.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=500)
    told = parser.parse_args(argv)
    try:
        answer = measure([told.file.read_bytes()], threads=told.threads, runs=told.runs, warmup=50)
    except (AgentError, OSError) as error:
        sys.stderr.write(f"{told.file}: {error}\n")
        return 4
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def measure(
    contents: Sequence[bytes], *, threads: int, runs: int, warmup: int, max_bytes: int = 512 << 20
) -> dict[str, Any]:
    """{"models": [{"sha256", "samples_ms"}], "host": ...}; the models take turns in one child.

    Raises:
        AgentError: unsafe_model, crashed, too_slow or too_much_memory.
    """
    if not (1 <= threads <= 64 and 1 <= runs <= _MAX_RUNS and 0 <= warmup <= _MAX_RUNS and 1 <= len(contents) <= 2):
        raise AgentError("bad_release", f"give one or two models, threads and at most {_MAX_RUNS} runs")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.onnx" for index in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            check_content(content, max_bytes=max_bytes, max_opset=_MAX_OPSET)
            path.write_bytes(content)
        job = {"job": "bench", "paths": [str(path) for path in paths], "threads": threads, "runs": runs,
               "warmup": warmup, "wall_s": _WALL_S, "memory_mb": _MEMORY_MB, "spare_mb": 512}
        return {"models": run_child(job), "host": host_facts()}


def times(job: dict[str, Any]) -> list[dict[str, Any]]:
    """In the child.

    Raises:
        AgentError: A model cannot be opened or run.
    """
    rows: list[tuple[str, Any, dict[str, Any], list[float]]] = []
    for path in job["paths"]:
        content = Path(path).read_bytes()
        session = open_session(content, job["threads"])
        image = session.get_inputs()[0]
        feed = {image.name: np.random.default_rng(20).standard_normal((1, *image.shape[1:]), dtype=np.float32)}
        rows.append((hashlib.sha256(content).hexdigest(), session, feed, []))
    gc.disable()
    for _, session, feed, _ in rows:
        _timed(session, feed, job["warmup"])
    while len(rows[-1][3]) < job["runs"]:
        for _, session, feed, taken in rows:
            taken += _timed(session, feed, min(_BLOCK, job["runs"] - len(taken)))
    return [{"sha256": sha256, "samples_ms": taken} for sha256, _, _, taken in rows]


def _timed(session: Any, feed: dict[str, Any], runs: int) -> list[float]:
    from edge_agent.model import failure

    taken = []
    try:
        for _ in range(runs):
            start = time.perf_counter_ns()
            session.run(None, feed)
            taken.append((time.perf_counter_ns() - start) / 1e6)
    except Exception as error:  # ONNX Runtime has a dozen unrelated error types
        raise failure("the model fails when it runs", error) from error
    return taken


def host_facts() -> dict[str, Any]:
    """What a latency depends on; no name of host or user."""
    names = ("model name", "Hardware", "Model")  # x86, then what ARM boards offer
    rows = [line.partition(":") for line in _read("/proc/cpuinfo").splitlines()]
    cpu = [value.strip() for name in names for key, _, value in rows if key.strip() == name]
    return {
        "cpu": (cpu or [platform.processor() or platform.machine()])[0], "cores": os.cpu_count() or 1,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or "unknown",
        "os": f"{platform.system()} {platform.release()}", "machine": platform.machine(),
        "python": platform.python_version(), "onnxruntime": ort.__version__,
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
