"""Latency of one ONNX file on this machine, measured in several fresh processes, with a check of its stability."""

from __future__ import annotations

import itertools
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import nas_pipeline
from nas_pipeline.core.files import sha256_file
from nas_pipeline.core.records import LatencyReport
from nas_pipeline.errors import LatencyError
from nas_pipeline.latency import timing
from nas_pipeline.latency.host import fingerprint, load_average
from nas_pipeline.latency.timing import (
    Request,
    Samples,
    normalised_spread,
    percentiles_ms,
    quantiles_ms,
    relative_spread,
)

logger = logging.getLogger(__name__)

_START_S = 120.0
"""Time limit for the start of a process: it takes 0.4 s, or longer on a machine that swaps."""
_SLOWEST_RUN_S = 5.0
_QUICK_BLOCKS = 5

REFERENCE_FILE = "reference-1.onnx"
"""Name of the reference model in a working folder; the number is its version."""

Bench = Callable[[Request], list[Samples]]
"""Times the models of a request in one fresh process, in alternating blocks."""

Fingerprint = Callable[[], dict[str, Any]]
"""Returns the fingerprint of the machine that measures, see `latency.host.fingerprint`."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Samples of model and reference, one pair per process."""

    model: tuple[Samples, ...]
    reference: tuple[Samples, ...]

    @property
    def medians(self) -> tuple[list[float], list[float]]:
        """Medians per process of the model and of the reference."""
        return [median(item.samples_ms) for item in self.model], [median(item.samples_ms) for item in self.reference]

    @property
    def spread(self) -> float:
        """The spread that decides on stability."""
        return normalised_spread(*self.medians)


def measure(
    model: Path, target_threads: int, *, work: Path, processes: int = 5, runs: int = 500, warmup: int = 50,
    max_spread: float = 0.25, attempts: int = 3, bench: Bench | None = None,
    host: Fingerprint | None = None,
) -> LatencyReport:
    """Measure `model` with batch 1; percentiles are pooled over all runs of all processes.

    Every process times the model and the reference model in alternating blocks. The report is stable when the
    per-process medians, divided by the reference's median of the same process, spread by no more than `max_spread`.
    An unstable measurement is repeated. The report is that of the most stable attempt, never a mixture, and is marked
    unstable if that attempt is.

    Args:
        model: A self-contained ONNX file that takes one image.
        target_threads: Threads of the runtime.
        work: Folder for the reference model.
        processes: Number of processes, at least 2 as the spread is computed between them.
        runs: Timed runs per process, enough to average over load changes of a shared host.
        warmup: Untimed runs before them.
        max_spread: Upper bound on the spread. On two busy shared cores small networks spread by 0.01 to 0.27 at 500 and
            more runs, by up to 0.6 at 200.
        attempts: Largest number of attempts; the `host` of the report contains the actual number.
        bench: Times models in one fresh process; by default in one of this machine.
        host: Returns the fingerprint of the machine that `bench` uses; called after the measurement.

    Raises:
        LatencyError: The file cannot be run, or it changed during the measurement.
    """
    if processes < 2 or attempts < 1:
        raise LatencyError(f"need at least 2 processes and 1 attempt, got {processes} and {attempts}")
    if not model.is_file():
        raise LatencyError(f"{model} cannot be read: the file does not exist")
    sha256 = sha256_file(model)
    reference = reference_model(work)
    here = {} if host else fingerprint()  # before the measurement, which adds load
    tried: list[_Attempt] = []
    for number in range(1, attempts + 1):
        tried.append(_attempt(
            model, reference, processes, Request((), target_threads, warmup, runs), bench or run_fresh
        ))
        _require_same_file(model, sha256, tried[-1])
        if tried[-1].spread <= max_spread:
            break
        logger.info("latency of %s unstable: attempt %d of %d, spread %.2f, load %s",
                    model.name, number, attempts, tried[-1].spread, load_average())
    best = min(tried, key=lambda attempt: attempt.spread)
    return _report(best, sha256, target_threads, max_spread, {**(host() if host else here), "attempts": len(tried)})


def reference_model(work: Path) -> Path:
    """Return the file of the reference model in `work`; it is written by the first call."""
    path = work / REFERENCE_FILE
    if not path.exists():
        from nas_pipeline.export.reference import write_reference  # onnx is needed only to write the file

        write_reference(path)
    return path


def quick_latency_ms(model: Path, threads: int, *, runs: int, warmup: int) -> float:
    """Measure a latency to rank candidates: in this process, batch 1, the smallest of five block medians.

    Interference only adds time, so the smallest median is the most accurate. No gate accepts this figure.

    Args:
        model: A self-contained ONNX file that takes one image.
        threads: Threads of the runtime.
        runs: Timed runs in all five blocks together.
        warmup: Untimed runs before them.

    Raises:
        LatencyError: The file cannot be run.
    """
    (samples,) = timing.bench(Request((str(model),), threads, warmup, max(runs, _QUICK_BLOCKS)))
    times = samples.samples_ms
    edges = [len(times) * block // _QUICK_BLOCKS for block in range(_QUICK_BLOCKS + 1)]
    return min(median(times[start:end]) for start, end in itertools.pairwise(edges))


def _attempt(model: Path, reference: Path, processes: int, request: Request, bench: Bench) -> _Attempt:
    pairs: list[Sequence[Samples]] = []
    for number in range(processes):
        # The order alternates, so that warm caches favour neither model.
        order = (model, reference) if number % 2 == 0 else (reference, model)
        answer = bench(Request(tuple(map(str, order)), request.threads, request.warmup, request.runs))
        pairs.append(answer if number % 2 == 0 else answer[::-1])
    return _Attempt(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))


def run_fresh(request: Request) -> list[Samples]:
    """Run `bench` in a new process.

    Raises:
        LatencyError: The process fails, exceeds its time limit or writes invalid output.
    """
    root = str(Path(nas_pipeline.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    limit_s = _START_S + _SLOWEST_RUN_S * (request.runs + request.warmup) * len(request.models)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "nas_pipeline.latency.bench"], input=json.dumps(request.to_json()),
            capture_output=True, text=True, timeout=limit_s, check=False, env={**os.environ, "PYTHONPATH": path},
        )
        answer: dict[str, Any] = json.loads(done.stdout or "{}")
    except subprocess.TimeoutExpired:
        raise LatencyError(f"measuring {request.models[0]} took more than {limit_s:.0f} s") from None
    except json.JSONDecodeError as error:
        raise LatencyError(f"the bench process wrote no JSON: {error}") from error
    if "error" in answer:
        raise LatencyError(answer["error"])
    if done.returncode or "models" not in answer:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise LatencyError(f"the bench process ended with status {done.returncode}: {last}")
    return [Samples(item["sha256"], tuple(item["samples_ms"])) for item in answer["models"]]


def _require_same_file(model: Path, sha256: str, attempt: _Attempt) -> None:
    if {item.sha256 for item in attempt.model} != {sha256} or sha256_file(model) != sha256:
        raise LatencyError(f"{model} changed during the measurement; measure again without writing to it")


def _report(
    attempt: _Attempt, sha256: str, threads: int, max_spread: float, host: dict[str, Any]
) -> LatencyReport:
    pooled = [value for item in attempt.model for value in item.samples_ms]
    p50, p90, p95, p99 = percentiles_ms(pooled)
    raw = relative_spread(attempt.medians[0])
    return LatencyReport(
        evidence="measured", p50_ms=p50, p90_ms=p90, p95_ms=p95, p99_ms=p99,
        runs=len(pooled), processes=len(attempt.model), threads=threads,
        spread=attempt.spread, stable=attempt.spread <= max_spread, model_sha256=sha256,
        reference_p50_ms=median(value for item in attempt.reference for value in item.samples_ms),
        host={**host, "raw_spread": raw, "max_spread": max_spread}, quantiles_ms=quantiles_ms(pooled),
    )
