"""The probe `proxy`: local latency times a factor of the target. It ranks candidates and passes no gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from nas_pipeline.core.records import Evidence, LatencyReport, TargetDevice
from nas_pipeline.errors import LatencyError
from nas_pipeline.latency.probes.local import LocalProbe


class ProxyProbe:
    """Measures on this machine and multiplies by `target.host_factor`; the evidence is `proxy`."""

    name = "proxy"
    version = 1
    evidence: ClassVar[Evidence] = "proxy"

    def __init__(
        self, work: Path, processes: int = 5, runs: int = 500, warmup: int = 50, max_spread: float = 0.25,
        attempts: int = 3,
    ) -> None:
        """See `LocalProbe`."""
        self._local = LocalProbe(work, processes, runs, warmup, max_spread, attempts)

    def key(self) -> dict[str, object]:
        """Name, version and options, which are those of `LocalProbe`."""
        return {**self._local.key(), "name": self.name, "version": self.version}

    def measure(self, model: Path, target: TargetDevice) -> LatencyReport:
        """Measures `model` on this machine and applies the factor. The reference latency stays that of this machine.

        Raises:
            LatencyError: The file cannot be run, or the factor is not positive.
        """
        factor = target.host_factor
        if not factor > 0:
            raise LatencyError(f"target {target.name!r} has host_factor {factor}: it must be above 0")
        report = self._local.measure(model, target)
        return replace(
            report, evidence=self.evidence, p50_ms=report.p50_ms * factor, p90_ms=report.p90_ms * factor,
            p95_ms=report.p95_ms * factor, p99_ms=report.p99_ms * factor,
            quantiles_ms=tuple(value * factor for value in report.quantiles_ms),
            host={**report.host, "stands_in_for": target.name, "host_factor": factor},
        )
