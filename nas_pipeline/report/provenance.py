"""Where the figures come from, and what to type to get them again."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Mapping
from typing import Any

from nas_pipeline.report.found import Found

_PACKAGES = ("torch", "onnxruntime", "onnx", "optuna", "numpy")


def reproduce(found: Found, commit: str, dirty: str) -> list[str]:
    """Lines for a shell."""
    lines = [f"git checkout {commit}"] if commit not in {"", "unknown"} else []
    profile, overrides = found.command.get("profile"), found.command.get("overrides", [])
    if profile is None:
        inside = found.root.parent.name == "work" and found.root.parent.parent.name == ".nas"
        profile = found.root.name if inside else "default"
    words = ["make", "pipeline", *([f"PROFILE={profile}"] if profile != "default" else [])]
    if overrides:
        words.append(f"SET={' '.join(overrides)}")
    if dirty == "true":
        lines.append("# the working tree had changes that no commit holds: this run cannot be repeated exactly")
    return [*lines, shlex.join(words)]


def origin(found: Found, tags: Mapping[str, str]) -> dict[str, str]:
    """Name -> value, for a table. The packages are those of whoever wrote the page."""
    rows = dict(tags)
    published: dict[str, Any] = found.last_run.get("published") or {}
    if published:
        rows["MLflow run"] = f"{published.get('run_id')} of {published.get('experiment')}"
    elif found.last_run.get("unpublished"):
        rows["MLflow run"] = f"none: {found.last_run['unpublished']}"
    for target in found.targets:
        if target.bundle is not None:
            rows[f"bundle of {target.name}"] = target.bundle.digest
        if target.latency is not None and target.latency.host:
            host = target.latency.host
            rows[f"latency of {target.name}"] = (
                f"{host.get('cpu', 'unknown processor')}, {host.get('cores', '?')} cores, {host.get('os', '')}, "
                f"onnxruntime {host.get('onnxruntime', '?')}, load {host.get('load_average', '?')}"
            )
    rows["page written with"] = ", ".join([f"Python {platform.python_version()}", *map(_version, _PACKAGES)])
    return rows


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} not installed"
