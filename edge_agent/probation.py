"""Trial of a model in a child process; a crash, a hang or a leak there does not affect the model in use.

`python -m edge_agent.probation` reads a job as JSON from stdin and writes the result as the last line of stdout.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_agent.contract.wire import ModelCard, Release, card_from
from edge_agent.disk import reach
from edge_agent.errors import AgentError

_MARGIN = 1.2
"""Factor on the latency budget: the device serves during the trial, the budget was measured on an idle one."""
_WARMUP, _ROUNDS, _RUNS = 10, 3, 100
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of a trial."""

    wall_s: float = 50.0
    spare_mb: float = 512.0
    """Address space above twice the memory of the release: the runtime reserves more than it uses."""


def try_model(onnx: Path, card: ModelCard, release: Release, *, limits: Limits) -> dict[str, float]:
    """Tries a model file in a child process.

    Returns:
        p95_ms, memory_mb, max_error, agreement and runs.

    Raises:
        AgentError: wrong_answers, too_slow, too_much_memory or crashed, with the figures as far as known.
    """
    wall_s = max(limits.wall_s, 3e-3 * release.latency_ms * _RUNS)
    job = {"job": "try", "onnx": str(onnx), "card": asdict(card), "threads": release.threads, "wall_s": wall_s,
           "latency_ms": release.latency_ms, "memory_mb": release.memory_mb, "spare_mb": limits.spare_mb}
    figures: dict[str, float] = run_child(job)
    return figures


def run_child(job: dict[str, Any]) -> Any:
    """Runs a job in a child process and returns its result; see `main`.

    Raises:
        AgentError: The job failed, or the child process died.
    """
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    try:
        done = subprocess.run([sys.executable, "-P", "-m", "edge_agent.probation"], input=json.dumps(job).encode(),
                              capture_output=True, timeout=job["wall_s"], check=False, env=environment)
    except subprocess.TimeoutExpired:
        raise AgentError("too_slow", f"no result within {job['wall_s']:.0f} s") from None
    try:
        result = json.loads(done.stdout.splitlines()[-1])
        if "code" not in result:
            return result["answer"]
    except (ValueError, IndexError, KeyError, TypeError):
        raise _death(done.returncode, done.stderr) from None
    raise AgentError(result["code"], result["message"], result["figures"])


def _death(status: int, stderr: bytes) -> AgentError:
    last = stderr.decode(errors="replace").strip()[-200:]
    if status == -signal.SIGXCPU:
        return AgentError("too_slow", "it exceeded its processor time")
    if status == -signal.SIGKILL or b"alloc" in stderr or b"MemoryError" in stderr:
        return AgentError("too_much_memory", f"the system killed the process ({status}): {last}")
    return AgentError("crashed", f"the process ended with status {status}: {last}")


def main() -> int:
    """Runs a job in the child process: `try` (one model) or `bench` (one or two models)."""
    job = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        from edge_agent import model  # loads numpy and the runtime before the limits, which cover later allocations

        _limit(job)
        reach("probation_child")
        result: dict[str, Any] = {"answer": _try(job) if job["job"] == "try" else model.sample_latencies(job)}
    except AgentError as error:
        result = {"code": error.code, "message": error.message, "figures": error.figures}
    except MemoryError as error:
        result = {"code": "too_much_memory", "message": f"out of memory {error}", "figures": {}}
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    return 0


def _limit(job: dict[str, Any]) -> None:
    signal.alarm(math.ceil(job["wall_s"]) + 1)  # in case the agent was killed and no longer enforces the limit
    extra_bytes = int((2 * job["memory_mb"] + job["spare_mb"]) * _MB)
    for kind, value in (
        (resource.RLIMIT_AS, _status("VmSize") + extra_bytes), (resource.RLIMIT_DATA, _status("VmData") + extra_bytes),
        (resource.RLIMIT_CPU, math.ceil(job["wall_s"] * job["threads"]) + 1), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _status(field: str) -> int:
    """Returns a memory figure of this process in bytes; ru_maxrss would include the parent process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _try(job: dict[str, Any]) -> dict[str, float]:
    from edge_agent.model import Model

    card = card_from(job["card"])
    before = _status("VmHWM")
    model = Model(Path(job["onnx"]), card, job["threads"])
    # Linux has priorities per thread: at a low one, the trial leaves processor time to the model in use.
    with ThreadPoolExecutor(1, initializer=_lower_priority) as executor:
        figures = executor.submit(_golden, model, card).result()
    if not (figures["max_error"] <= card.golden.tolerance and figures["agreement"] >= card.golden.agreement):
        raise AgentError("wrong_answers", f"error {figures['max_error']:.3g} (allowed: {card.golden.tolerance:.3g}), "
                         f"agreement {figures['agreement']:.1%} (at least {card.golden.agreement:.1%})", figures)
    bound = job["latency_ms"] * _MARGIN
    figures |= _p95(model, bound)
    figures["memory_mb"] = max(0, _status("VmHWM") - before) / _MB
    if figures["memory_mb"] > job["memory_mb"]:
        raise AgentError("too_much_memory", f"{figures['memory_mb']:.0f} MB, allowed: {job['memory_mb']:.0f}", figures)
    if figures["p95_ms"] > bound:
        raise AgentError("too_slow", f"p95 {figures['p95_ms']:.2f} ms in the best of {_ROUNDS} rounds, allowed: "
                         f"{bound:g} ms", figures)
    return figures


def _lower_priority() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _golden(model: Any, card: ModelCard) -> dict[str, float]:
    """Returns the largest error of a logit and the top-1 agreement on the golden images, one image at a time."""
    import numpy as np

    expected = np.frombuffer(card.golden.bytes_of("logits"), "<f4").reshape(card.golden.images, -1)
    pixels = model.images(card.golden.bytes_of("pixels"))
    logits = np.concatenate([model.predict(image[None]) for image in pixels])
    if logits.shape != expected.shape or not np.isfinite(logits).all():
        raise AgentError("wrong_answers", f"logits {logits.shape} instead of {expected.shape}, or not all finite")
    return {"max_error": float(np.abs(logits - expected).max()),
            "agreement": float((logits.argmax(1) == expected.argmax(1)).mean())}


def _p95(model: Any, bound_ms: float) -> dict[str, float]:
    """Returns the p95 of the best of up to three rounds, so that a short load on the device rejects no file."""
    floats = model.normalised(model.images(model.card.golden.bytes_of("pixels"))[:1])
    for _ in range(_WARMUP):
        model.run(floats)
    best, runs = math.inf, 0
    for _ in range(_ROUNDS):
        samples: list[float] = []
        while len(samples) < _RUNS and sum(sample > bound_ms for sample in samples) <= _RUNS // 20:
            start = time.perf_counter_ns()
            model.run(floats)
            samples.append((time.perf_counter_ns() - start) / 1e6)
        runs += len(samples)
        best = min(best, sorted(samples)[math.ceil(0.95 * _RUNS) - 1] if len(samples) == _RUNS else max(samples))
        if best <= bound_ms:
            break
    return {"p95_ms": best, "runs": float(runs)}


if __name__ == "__main__":
    raise SystemExit(main())
