"""The probe `agent`: measures on the device itself, through `nas-agent serve` (POST /bench). `measured` evidence."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from nas_pipeline.core.records import Evidence, LatencyReport, TargetDevice
from nas_pipeline.errors import ConfigError, LatencyError
from nas_pipeline.latency.host import identified
from nas_pipeline.latency.measure import measure
from nas_pipeline.latency.timing import Request, Samples

_TIMEOUT_S = 330.0
"""The device aborts a measurement after 300 s."""
_FACTS = ("cpu", "cores", "governor", "os", "machine", "python", "onnxruntime")
_MOST_BYTES = 64 << 20


class AgentProbe:
    """Measures on the device whose agent listens at `url`, usually the local end of a tunnel to the device."""

    name = "agent"
    version = 1
    evidence: ClassVar[Evidence] = "measured"

    def __init__(
        self, work: Path, url: str, processes: int = 5, runs: int = 500, warmup: int = 50, max_spread: float = 0.25,
        attempts: int = 3,
    ) -> None:
        """`url` is for example http://127.0.0.1:8765; for the other options see `latency.measure.measure`.

        Raises:
            ConfigError: `url` is not an http(s) address.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"probe 'agent': url {url!r} is not an http(s) address; set it to that of `nas-agent "
                              "serve`, http://127.0.0.1:8765 through a tunnel")
        self._url = url.rstrip("/")
        self._work = work
        self._processes = processes
        self._runs = runs
        self._warmup = warmup
        self._max_spread = max_spread
        self._attempts = attempts
        self._host: dict[str, Any] = {}

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "url": self._url,
            "processes": self._processes,
            "runs": self._runs,
            "warmup": self._warmup,
            "max_spread": self._max_spread,
            "attempts": self._attempts,
        }}

    def measure(self, model: Path, target: TargetDevice) -> LatencyReport:
        """Measures the latency of `model` on the device, with the threads of `target`.

        Raises:
            LatencyError: The device does not respond, rejects the file or cannot run it, or another device responded
                during the measurement.
        """
        self._host = {}
        return measure(
            model, target.threads, work=self._work, processes=self._processes, runs=self._runs, warmup=self._warmup,
            max_spread=self._max_spread, attempts=self._attempts, bench=self._bench, host=lambda: self._host,
        )

    def _bench(self, request: Request) -> list[Samples]:
        contents = [Path(path).read_bytes() for path in request.models]
        query = urllib.parse.urlencode({
            "threads": request.threads, "runs": request.runs, "warmup": request.warmup,
            "sizes": ",".join(str(len(content)) for content in contents),
        })
        answer = self._post(f"{self._url}/bench?{query}", b"".join(contents), request.models[0])
        try:
            samples = [Samples(str(row["sha256"]), tuple(map(float, row["samples_ms"]))) for row in answer["models"]]
            host = identified({name: answer["host"][name] for name in _FACTS})
        except (KeyError, TypeError, ValueError) as error:
            raise LatencyError(f"{self._url} is not a nas-agent: its response has no {error}") from error
        if len(samples) != len(contents) or {len(sample.samples_ms) for sample in samples} != {request.runs}:
            raise LatencyError(f"{self._url} returned another number of runs than requested")
        if self._host and host["id"] != self._host["id"]:
            raise LatencyError(f"two devices responded at {self._url}: measure one at a time")
        self._host = host
        return samples

    def _post(self, url: str, body: bytes, model: str) -> Any:
        request = urllib.request.Request(url, body, {"Content-Type": "application/octet-stream"})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return json.loads(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read(1000).decode(errors="replace")
            raise LatencyError(f"the device at {self._url} does not measure {model}: {reason}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LatencyError(
                f"the device at {self._url} does not respond ({error}): is `nas-agent serve` running, "
                "and is the tunnel open?"
            ) from error
