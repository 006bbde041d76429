"""The probe `local`: this machine is the target, so its latency is `measured` evidence."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from nas_pipeline.core.records import Evidence, LatencyReport, TargetDevice
from nas_pipeline.latency.measure import measure


class LocalProbe:
    """Measures on this machine, in fresh processes."""

    name = "local"
    version = 1
    evidence: ClassVar[Evidence] = "measured"

    def __init__(
        self, work: Path, processes: int = 5, runs: int = 500, warmup: int = 50, max_spread: float = 0.25,
        attempts: int = 3,
    ) -> None:
        """See `latency.measure.measure`; the reference model is stored in `work`."""
        self._work = work
        self._processes = processes
        self._runs = runs
        self._warmup = warmup
        self._max_spread = max_spread
        self._attempts = attempts

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "processes": self._processes,
            "runs": self._runs,
            "warmup": self._warmup,
            "max_spread": self._max_spread,
            "attempts": self._attempts,
        }}

    def measure(self, model: Path, target: TargetDevice) -> LatencyReport:
        """Measures the latency of `model` on this machine, with the threads of `target`.

        Raises:
            LatencyError: The file cannot be run.
        """
        return measure(
            model, target.threads, work=self._work, processes=self._processes, runs=self._runs, warmup=self._warmup,
            max_spread=self._max_spread, attempts=self._attempts,
        )
