"""The provenance of a run, and the commands that repeat it."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Mapping
from typing import Any

from nas_pipeline.report.run_artifacts import RunArtifacts

_PACKAGES = ("torch", "onnxruntime", "onnx", "optuna", "numpy")


def reproduce(run: RunArtifacts, commit: str, dirty: str) -> list[str]:
    """Returns the shell commands that repeat the run."""
    lines = [f"git checkout {commit}"] if commit not in {"", "unknown"} else []
    profile, overrides = run.command.get("profile"), run.command.get("overrides", [])
    if profile is None:
        inside = run.root.parent.name == "work" and run.root.parent.parent.name == ".nas"
        profile = run.root.name if inside else "default"
    command = ["make", "pipeline", *([f"PROFILE={profile}"] if profile != "default" else [])]
    if overrides:
        command.append(f"SET={' '.join(overrides)}")
    if dirty == "true":
        lines.append("# the working tree had uncommitted changes: the run cannot be repeated exactly from the commit")
    return [*lines, shlex.join(command)]


def origin(run: RunArtifacts, tags: Mapping[str, str]) -> dict[str, str]:
    """Returns name -> value for a table. Package versions are those of the process that writes the page."""
    rows = dict(tags)
    published: dict[str, Any] = run.last_run.get("published") or {}
    if published:
        rows["MLflow run"] = f"{published.get('run_id')} of {published.get('experiment')}"
    elif run.last_run.get("unpublished"):
        rows["MLflow run"] = f"none: {run.last_run['unpublished']}"
    for target in run.targets:
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
