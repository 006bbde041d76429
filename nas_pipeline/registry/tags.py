"""Where a run comes from: the tags that lead from MLflow back to code, parameters, data and environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nas_pipeline.core.files import sha256_file
from nas_pipeline.registry.results import read_dataset

RUN_KEY = "pipeline.run_key"
ROLE = "pipeline.role"
COMPLETE = "pipeline.complete"
"""Set on the parent run last of all: without it a replay was interrupted."""

EVIDENCE_SHA256 = "evidence.sha256"
"""Of a model and its version: digest over the evidence that was stored with it."""
WITHDRAWN = "promotion.withdrawn"
"""Of a version that was rolled back: why. It is not called candidate again by itself."""
PARAMS, DVC_LOCK, PATCH = "params.yaml", "dvc.lock", "working-tree.patch"
"""Files of the parent run from which it can be made again; the last only where the tree was dirty."""

_KEY_HEX_DIGITS = 16
_GIT_TIMEOUT_S = 10


def run_key(root: Path) -> str:
    """The identity of one pass of the pipeline: data set and digest of dvc.lock, so an unchanged pass has the same key.

    Raises:
        RegistryError: There is no data set yet.
    """
    return f"{read_dataset(root).name}-{_digest(root / 'dvc.lock')[:_KEY_HEX_DIGITS]}"


def provenance(root: Path, *, flow_run_id: str | None = None) -> dict[str, str]:
    """Tags of the parent run. What cannot be known (no git, no lock) is said to be `unknown`.

    Raises:
        RegistryError: There is no data set yet.
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
    """What is not committed of the files that git knows, as a patch; empty where nothing is, or there is no git."""
    top = _git(root, "rev-parse", "--show-toplevel")
    # Without strip: the last line of a patch may end in a blank that belongs to it.
    return (_git(Path(top), "diff", "--binary", "HEAD", strip=False) or "") if top else ""


def _digest(path: Path) -> str:
    return sha256_file(path) if path.is_file() else "unknown"


def _nearest(root: Path, name: str) -> Path:
    # A workspace lies inside the repository and has no lock of its own.
    root = root.resolve()
    return next((folder / name for folder in (root, *root.parents) if (folder / name).is_file()), root / name)


def _git(root: Path, *arguments: str, strip: bool = True) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if strip else done.stdout
