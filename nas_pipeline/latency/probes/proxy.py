"""Probe that scales the latency on this machine by the factor of the target. No gate accepts its evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas_pipeline.core.records import LatencyReport, TargetDevice
from nas_pipeline.errors import LatencyError
from nas_pipeline.latency.probes.local import LocalProbe


class ProxyProbe:
    """Measures on this machine and scales by `target.host_factor`. Evidence: `proxy`."""

    def __init__(
        self, work: Path, processes: int = 5, runs: int = 500, warmup: int = 50, max_spread: float = 0.25,
        attempts: int = 3,
    ) -> None:
        """See `LocalProbe`."""
        self._local = LocalProbe(work, processes, runs, warmup, max_spread, attempts)

    def measure(self, model: Path, target: TargetDevice) -> LatencyReport:
        """Measure the latency of `model` on this machine and scale it; the figure of the reference model is not scaled.

        Raises:
            LatencyError: The file cannot be run, or the factor is not positive.
        """
        factor = target.host_factor
        if not factor > 0:
            raise LatencyError(f"target {target.name!r} has host_factor {factor}: it must be above 0")
        report = self._local.measure(model, target)
        return replace(
            report, evidence="proxy", p50_ms=report.p50_ms * factor, p90_ms=report.p90_ms * factor,
            p95_ms=report.p95_ms * factor, p99_ms=report.p99_ms * factor,
            quantiles_ms=tuple(value * factor for value in report.quantiles_ms),
            host={**report.host, "stands_in_for": target.name, "host_factor": factor},
        )
