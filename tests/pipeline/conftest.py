"""One undisturbed run of the small project, shared by everything that compares with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.small_project import make_workspace, run_pipeline


@dataclass(frozen=True)
class Finished:
    """A whole run: its workspace, its exit status, and what it says of itself."""

    root: Path
    code: int
    last_run: dict[str, Any]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The small project after one run."""
    root = make_workspace(tmp_path_factory.mktemp("undisturbed"))
    return Finished(root, *run_pipeline(root))
