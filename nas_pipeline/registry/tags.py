"""Computes the tags that identify the code, parameters, data and environment of a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nas_pipeline.core.files import sha256_file
from nas_pipeline.registry.results import read_dataset

RUN_KEY = "pipeline.run_key"
ROLE = "pipeline.role"
COMPLETE = "pipeline.complete"
"""Set on the parent run last: without it the publication was interrupted."""

EVIDENCE_SHA256 = "evidence.sha256"
"""Tag of a model and its version: digest over the evidence that was stored with it."""
WITHDRAWN = "promotion.withdrawn"
"""Tag of a version that was rolled back: the reason. Such a version does not become candidate again by registration."""
PARAMS, DVC_LOCK, PATCH = "params.yaml", "dvc.lock", "working-tree.patch"
"""Files of the parent run that repeating it needs; the patch exists only where the working tree was dirty."""

_KEY_HEX_DIGITS = 16
_GIT_TIMEOUT_S = 10


def run_key(root: Path) -> str:
    """Returns the identity of a pipeline run: data set and digest of dvc.lock. An unchanged run has the same key.

    Raises:
        RegistryError: There is no data set.
    """
    return f"{read_dataset(root).name}-{_digest(root / 'dvc.lock')[:_KEY_HEX_DIGITS]}"


def provenance(root: Path, *, flow_run_id: str | None = None) -> dict[str, str]:
    """Returns the tags of the parent run. A value that cannot be determined (no git, no lock) is `unknown`.

    Raises:
        RegistryError: There is no data set.
    """
    tags = {
        **source_tags(root),
        "dvc.lock.sha256": _digest(root / "dvc.lock"),
        "params.sha256": _digest(root / "params.yaml"),
        "dataset.digest": read_dataset(root).digest,
        "requirements.lock.sha256": _digest(_nearest(root, "requirements.lock")),
    }
    if flow_run_id:
        tags["prefect.flow_run_id"] = flow_run_id
    return tags


def source_tags(root: Path) -> dict[str, str]:
    """Returns the commit of the code at `root`, and whether tracked files differ from it; `unknown` without git."""
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {
        "git.commit": commit or "unknown",
        "git.dirty": "unknown" if changes is None else str(bool(changes)).lower(),
    }


def uncommitted(root: Path) -> str:
    """Returns the uncommitted changes of tracked files as a patch; empty without changes or without git."""
    top = _git(root, "rev-parse", "--show-toplevel")
    # Not stripped: the last line of a patch may end in a significant blank.
    return (_git(Path(top), "diff", "--binary", "HEAD", strip=False) or "") if top else ""


def _digest(path: Path) -> str:
    return sha256_file(path) if path.is_file() else "unknown"


def _nearest(root: Path, name: str) -> Path:
    # A workspace is inside the repository and has no lock of its own.
    root = root.resolve()
    return next((folder / name for folder in (root, *root.parents) if (folder / name).is_file()), root / name)


def _git(root: Path, *arguments: str, strip: bool = True) -> str | None:
    try:
        process = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip() if strip else process.stdout
