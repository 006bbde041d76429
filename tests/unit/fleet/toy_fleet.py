"""Releases and reports of a small fleet, without keys and without files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from edge_agent.contract.wire import WHOLE, Golden, ModelCard, Release, Report, Wave, onnx_path
from nas_pipeline.fleet.tuf.releases import ReleaseEntry

TARGET, MODEL = "pi", "toy-set--pi"
NOW = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)
SHARES = (1000, 5000, WHOLE)
OLD, NEW = "a" * 64, "b" * 64


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def listed(
    counter: int, sha256: str = NEW, index: int = 0, shares: tuple[int, ...] = SHARES, **more: Any
) -> ReleaseEntry:
    """A release of a file whose digest is given, or one digit of it, 64 times."""
    sha256 = sha256 if len(sha256) == 64 else sha256 * 64
    golden = Golden(1, "AAAA", "AAAA", 0.01, 0.98)
    version = more.pop("version", str(counter))
    release = Release(
        schema=1, model=MODEL, version=version, bundle=more.pop("bundle", "c" * 64), counter=counter,
        hardware=("cpu",), ort=("1.20", "2"), opset=20, min_agent="0.1", memory_mb=200.0, latency_ms=50.0, threads=1,
        golden=golden.sha256, wave=Wave("00" * 8, shares, index), **more,
    )
    card = ModelCard(counter, onnx_path(TARGET, MODEL, sha256), 1, 8, 8, ("a", "b"), (0.5,), (0.5,), golden, {})
    return ReleaseEntry(release, card)


def report(device: str, seq: int, event: str = "installed", counter: int = 2, sha256: str = NEW, **more: Any) -> Report:
    about = more.pop("about", {"counter": counter, "sha256": sha256})
    values: dict[str, Any] = {
        "schema": 1, "device": device, "target": TARGET, "model": MODEL, "seq": seq, "time": "2026-05-03T12:00:00Z",
        "agent": "0.1.0", "runtime": {"onnxruntime": "1.32.0"}, "counter": counter, "sha256": sha256, "event": event,
        "code": "", "detail": "", "about": about, "probation": {"p95_ms": 3.5}, "quarantine": (), "drift": {},
    }
    return Report(**{**values, **more})
