"""Timing of models in this process, in alternating blocks, one image at a time; percentiles and spreads of samples.

Imports neither torch nor onnx, as the processes of the benchmark import this module.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from nas_pipeline.errors import ExportError, LatencyError
from nas_pipeline.export.session import open_session

_BLOCK_RUNS = 20
_SEED = 20
_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Request:
    """The request to one bench process."""

    models: tuple[str, ...]
    """Paths of the models, timed in alternating blocks A B A B ..."""
    threads: int
    warmup: int
    runs: int
    """Timed runs per model."""

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Samples:
    """Latency samples of one model in one process."""

    sha256: str
    """Checksum of the bytes that ran."""
    samples_ms: tuple[float, ...]
    """Durations in the order of measurement."""


def bench(request: Request) -> list[Samples]:
    """Time each model of `request` on one random image; returns the samples in the order of the models.

    Raises:
        LatencyError: A model cannot be read or run, or the request is empty.
    """
    if not request.models or request.runs < 1 or request.warmup < 0 or request.threads < 1:
        raise LatencyError(f"nothing to measure: {request}; give models, runs >= 1, warmup >= 0 and threads >= 1")
    contents = [_read(Path(path)) for path in request.models]
    runners = [_Runner(path, content, request.threads) for path, content in zip(request.models, contents, strict=True)]
    for runner in runners:
        runner.times_ns(request.warmup)
    times: list[list[int]] = [[] for _ in runners]
    while len(times[-1]) < request.runs:
        for runner, durations in zip(runners, times, strict=True):
            durations += runner.times_ns(min(_BLOCK_RUNS, request.runs - len(durations)))
    return [
        Samples(hashlib.sha256(content).hexdigest(), tuple(value / _NS_PER_MS for value in durations))
        for content, durations in zip(contents, times, strict=True)
    ]


class _Runner:
    """One model with a session and an image."""

    def __init__(self, path: str, content: bytes, threads: int) -> None:
        try:
            self._session = open_session(content, threads=threads)
        except ExportError as error:
            raise LatencyError(f"{path} cannot be measured: {error}") from error
        self._path = path
        self._feed = _random_image(self._session, path)

    def times_ns(self, runs: int) -> list[int]:
        """Durations of `runs` runs, with the garbage collector disabled."""
        run, feed, clock = self._session.run, self._feed, time.perf_counter_ns
        durations = []
        collecting = gc.isenabled()
        gc.disable()
        try:
            for _ in range(runs):
                start = clock()
                run(None, feed)
                durations.append(clock() - start)
        except Exception as error:  # ONNX Runtime has a dozen unrelated error types
            raise LatencyError(f"{self._path} fails when it runs: {error}") from error
        finally:
            if collecting:
                gc.enable()
        return durations


def _random_image(session: ort.InferenceSession, path: str) -> dict[str, npt.NDArray[np.float32]]:
    """A batch of one random image; some kernels are faster on zeros."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        shapes = [node.shape for node in inputs]
        raise LatencyError(f"{path} does not accept one float image [N, C, H, W]: its inputs are {shapes}")
    sides = inputs[0].shape[1:]
    if not all(isinstance(side, int) for side in sides):
        raise LatencyError(f"{path} has images of dynamic size ({sides}): export it with fixed sizes")
    image = np.random.default_rng(_SEED).standard_normal((1, *sides), dtype=np.float32)
    return {inputs[0].name: image}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LatencyError(f"{path} cannot be read: {error}") from error


def percentiles_ms(samples_ms: Sequence[float]) -> tuple[float, float, float, float]:
    """Return p50, p90, p95 and p99; each is an observed value, the next higher one instead of an interpolation."""
    p50, p90, p95, p99 = np.percentile(np.asarray(samples_ms), (50, 90, 95, 99), method="higher")
    return float(p50), float(p90), float(p95), float(p99)


def quantiles_ms(samples_ms: Sequence[float]) -> tuple[float, ...]:
    """Return the quantiles 0, 1, ..., 100 %, as observed values like those of `percentiles_ms`."""
    return tuple(float(q) for q in np.percentile(np.asarray(samples_ms), np.arange(101), method="higher"))


def relative_spread(medians: Sequence[float]) -> float:
    """Return (max - min) / median of the medians of separate processes. 0.0 for one process."""
    return (max(medians) - min(medians)) / median(medians)


def normalised_spread(model_medians: Sequence[float], reference_medians: Sequence[float]) -> float:
    """Return the spread of the ratios model / reference over processes.

    A busy or throttled host slows both models of a process equally, which cancels in the ratio. The remaining spread is
    that of the model itself.
    """
    return relative_spread([own / reference for own, reference in zip(model_medians, reference_medians, strict=True)])
