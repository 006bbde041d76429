"""Fingerprint of the machine on which a latency was measured. `id` is equal for equal hardware and software."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import onnxruntime as ort

from nas_pipeline.core.files import canonical_json, sha256_text

_CPUINFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_ID_HEX_DIGITS = 12


def fingerprint() -> dict[str, Any]:
    """Return processor, cores, governor, system and runtime versions, their hash as `id`, and the current load.

    It contains neither host name nor user, so that a report may be published.
    """
    stable: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "governor": _read(_GOVERNOR) or "unknown",
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
    }
    return {**identified(stable), "load_average": load_average()}


def identified(stable: dict[str, Any]) -> dict[str, Any]:
    """Return the stable properties of a machine with their `id`."""
    return {**stable, "id": sha256_text(canonical_json(stable))[:_ID_HEX_DIGITS]}


def load_average() -> float | None:
    """Return the load average of the last minute, or None if the system does not provide it."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def _cpu() -> str:
    if sys.platform == "linux":
        names = ("model name", "Hardware", "Model")  # x86, then ARM boards
        lines = [line.split(":", 1) for line in _read(_CPUINFO).splitlines() if ":" in line]
        for name in names:
            for key, value in lines:
                if key.strip() == name:
                    return value.strip()
    return platform.processor() or platform.machine()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
