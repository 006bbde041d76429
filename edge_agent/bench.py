"""`nas-agent bench FILE`: latency of a model on this device, one image at a time, in a child process."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from edge_agent.contract.model_check import UnsafeModelError, check_content
from edge_agent.contract.model_limits import MAX_FILE_BYTES, MAX_OPSET
from edge_agent.errors import AgentError
from edge_agent.probation import run_child

_MAX_RUNS = 5_000
_WALL_S, _MEMORY_MB = 300.0, 2_048.0


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the measurement as JSON; returns 4 if the file cannot be measured."""
    parser = argparse.ArgumentParser(prog="nas-agent bench", description="Measure the latency of a model.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=500)
    options = parser.parse_args(argv)
    try:
        result = measure([options.file.read_bytes()], threads=options.threads, runs=options.runs, warmup=50)
    except (AgentError, OSError) as error:
        sys.stderr.write(f"{options.file}: {error}\n")
        return 4
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def measure(
    contents: Sequence[bytes], *, threads: int, runs: int, warmup: int, max_bytes: int = MAX_FILE_BYTES
) -> dict[str, Any]:
    """Measures one or two models in one child process, in alternating blocks of runs.

    Returns:
        {"models": [{"sha256", "samples_ms"}], "host": ...}.

    Raises:
        AgentError: unsafe_model, crashed, too_slow or too_much_memory.
    """
    if not (1 <= threads <= 64 and 1 <= runs <= _MAX_RUNS and 0 <= warmup <= _MAX_RUNS and 1 <= len(contents) <= 2):
        raise AgentError("bad_release", f"pass one or two models, 1 to 64 threads and 1 to {_MAX_RUNS} runs")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.onnx" for index in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            try:
                check_content(content, max_bytes=max_bytes, max_opset=MAX_OPSET)
            except UnsafeModelError as error:
                raise AgentError("unsafe_model", str(error)) from error
            path.write_bytes(content)
        job = {"job": "bench", "paths": [str(path) for path in paths], "threads": threads, "runs": runs,
               "warmup": warmup, "wall_s": _WALL_S, "memory_mb": _MEMORY_MB, "spare_mb": 512}
        return {"models": run_child(job), "host": host_facts()}


def host_facts() -> dict[str, Any]:
    """Returns the facts that a latency depends on, without names of host or user."""
    names = ("model name", "Hardware", "Model")  # x86, then the names on ARM boards
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
