"""Tries a model in a process of its own, which may crash, hang or eat memory without harm to the one in use.

`python -m edge_agent.probation`: a job as JSON on stdin, an answer as JSON on the last line of stdout.
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

from edge_agent.contract.wire import ModelCard, Release, sheet_from
from edge_agent.errors import AgentError
from edge_agent.failpoints import reach

_MARGIN = 1.2
"""A device that serves meanwhile is slower than the one on which the budget was set."""
_WARMUP, _ROUNDS, _RUNS = 10, 3, 100
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a trial may take."""

    wall_s: float = 50.0
    spare_mb: float = 512.0
    """Address space above twice what the release may use: the runtime reserves more than it fills."""


def try_model(onnx: Path, card: ModelCard, release: Release, *, limits: Limits) -> dict[str, float]:
    """Try a file: p95_ms, memory_mb, max_error, agreement and runs of one that is fit for use.

    Raises:
        AgentError: wrong_answers, too_slow, too_much_memory or crashed, with the figures as far as known.
    """
    wall_s = max(limits.wall_s, 3e-3 * release.latency_ms * _RUNS)
    job = {"job": "try", "onnx": str(onnx), "card": asdict(card), "threads": release.threads, "wall_s": wall_s,
           "latency_ms": release.latency_ms, "memory_mb": release.memory_mb, "spare_mb": limits.spare_mb}
    answer: dict[str, float] = run_child(job)
    return answer


def run_child(job: dict[str, Any]) -> Any:
    """The answer to a job: see `main`.

    Raises:
        AgentError: The job failed, or the child did.
    """
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    try:
        done = subprocess.run([sys.executable, "-P", "-m", "edge_agent.probation"], input=json.dumps(job).encode(),
                              capture_output=True, timeout=job["wall_s"], check=False, env=environment)
    except subprocess.TimeoutExpired:
        raise AgentError("too_slow", f"no answer within {job['wall_s']:.0f} s") from None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        if "code" not in answer:
            return answer["answer"]
    except (ValueError, IndexError, KeyError, TypeError):
        raise _death(done.returncode, done.stderr) from None
    raise AgentError(answer["code"], answer["message"], answer["figures"])


def _death(status: int, said: bytes) -> AgentError:
    last = said.decode(errors="replace").strip()[-200:]
    if status == -signal.SIGXCPU:
        return AgentError("too_slow", "it used up its processor time")
    if status == -signal.SIGKILL or b"alloc" in said or b"MemoryError" in said:
        return AgentError("too_much_memory", f"the system ended it ({status}): {last}")
    return AgentError("crashed", f"the process ended with status {status}: {last}")


def main() -> int:
    """In the child: `try` a model, or `bench` some."""
    job = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        from edge_agent import model  # loads numpy and the runtime before the limits, which cover later allocations

        _limit(job)
        reach("probation_child")
        answer = _try(job) if job["job"] == "try" else model.sample_latencies(job)
        told: dict[str, Any] = {"answer": answer}
    except AgentError as error:
        told = {"code": error.code, "message": error.message, "figures": error.figures}
    except MemoryError as error:
        told = {"code": "too_much_memory", "message": f"no memory left {error}", "figures": {}}
    sys.stdout.write("\n" + json.dumps(told) + "\n")
    return 0


def _limit(job: dict[str, Any]) -> None:
    signal.alarm(math.ceil(job["wall_s"]) + 1)  # nobody waits for it any more, or the agent itself was killed
    room = int((2 * job["memory_mb"] + job["spare_mb"]) * _MB)
    for kind, value in (
        (resource.RLIMIT_AS, _status("VmSize") + room), (resource.RLIMIT_DATA, _status("VmData") + room),
        (resource.RLIMIT_CPU, math.ceil(job["wall_s"] * job["threads"]) + 1), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _status(field: str) -> int:
    """Bytes, of this process: its ru_maxrss would be that of the process that started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _try(job: dict[str, Any]) -> dict[str, float]:
    from edge_agent.model import Model

    card = sheet_from(job["card"])
    before = _status("VmHWM")
    model = Model(Path(job["onnx"]), card, job["threads"])
    # A thread of low priority (Linux has them per thread): the model in use goes on answering beside it.
    with ThreadPoolExecutor(1, initializer=_step_back) as aside:
        figures = aside.submit(_golden, model, card).result()
    if not (figures["max_error"] <= card.golden.tolerance and figures["agreement"] >= card.golden.agreement):
        raise AgentError("wrong_answers", f"off by {figures['max_error']:.3g} (allowed: {card.golden.tolerance:.3g}), "
                         f"{figures['agreement']:.1%} agree (at least {card.golden.agreement:.1%})", figures)
    bound = job["latency_ms"] * _MARGIN
    figures |= _p95(model, bound)
    figures["memory_mb"] = max(0, _status("VmHWM") - before) / _MB
    if figures["memory_mb"] > job["memory_mb"]:
        raise AgentError("too_much_memory", f"{figures['memory_mb']:.0f} MB, allowed: {job['memory_mb']:.0f}", figures)
    if figures["p95_ms"] > bound:
        raise AgentError("too_slow", f"p95 {figures['p95_ms']:.2f} ms in the best of {_ROUNDS} rounds, allowed: "
                         f"{job['latency_ms']:g} ms and a fifth", figures)
    return figures


def _step_back() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _golden(model: Any, card: ModelCard) -> dict[str, float]:
    """Largest error and agreement, one image at a time as it will be asked."""
    import numpy as np

    wanted = np.frombuffer(card.golden.bytes_of("logits"), "<f4").reshape(card.golden.images, -1)
    pixels = model.images(card.golden.bytes_of("pixels"))
    found = np.concatenate([model.predict(each[None]) for each in pixels])
    if found.shape != wanted.shape or not np.isfinite(found).all():
        raise AgentError("wrong_answers", f"{found.shape} logits, not {wanted.shape}, or some that are no numbers")
    return {"max_error": float(np.abs(found - wanted).max()),
            "agreement": float((found.argmax(1) == wanted.argmax(1)).mean())}


def _p95(model: Any, bound_ms: float) -> dict[str, float]:
    """The best of up to three rounds: a device that was busy for a moment condemns no good file."""
    floats = model.normalised(model.images(model.card.golden.bytes_of("pixels"))[:1])
    for _ in range(_WARMUP):
        model.run(floats)
    best, runs = math.inf, 0
    for _ in range(_ROUNDS):
        taken: list[float] = []
        while len(taken) < _RUNS and sum(each > bound_ms for each in taken) <= _RUNS // 20:
            start = time.perf_counter_ns()
            model.run(floats)
            taken.append((time.perf_counter_ns() - start) / 1e6)
        runs += len(taken)
        best = min(best, sorted(taken)[math.ceil(0.95 * len(taken)) - 1] if len(taken) == _RUNS else max(taken))
        if best <= bound_ms:
            break
    return {"p95_ms": best, "runs": float(runs)}


if __name__ == "__main__":
    raise SystemExit(main())
