"""The toy workspace as a git repository, with the code of this one, so that a run in a worktree of it is possible."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.unit.flows.toy_workspace import write_workspace
from tests.unit.registry.toy_artifacts import write_artifacts

REPO = Path(__file__).resolve().parents[3]


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write_repository(root: Path) -> Path:
    """One commit with everything a run needs. Both targets, of which one is refused."""
    write_workspace(root)
    write_artifacts(root / "made")
    (root / ".gitignore").write_text(".nas/\n.prefect/\n/artifacts/\nmlflow.db\nmlruns/\nruns.log\n__pycache__/\n")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / "requirements.lock").write_text("toy==1\n")
    for package in ("flows", "nas_pipeline", "edge_agent"):
        (root / package).symlink_to(REPO / package, target_is_directory=True)
    git(root, "init", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "-m", "toy")
    return root
