"""What an edit makes stale: nothing where it changes no result, exactly the stages concerned where it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nas_pipeline.core.source_code import code_version
from nas_pipeline.stages.table import STAGES
from tests.pipeline.small_project import make_workspace

PER_TARGET = tuple(f"{name}@{target}" for name in ("export", "verify") for target in ("here", "far"))
ALL = {"ingest", "validate", "search", "retrain", *PER_TARGET}


def dvc(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
    )
    return done.stdout


def stale(workspace: Path) -> set[str]:
    """The stages whose dependencies changed, by the real DVC."""
    return set(json.loads(dvc(workspace, "status", "--json")))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose stages are all fresh: every output is there, and dvc.lock says what it was made from."""
    root = make_workspace(tmp_path_factory.mktemp("staleness"))
    targets = yaml.safe_load((root / "params.yaml").read_text())["targets"]
    for stage in STAGES.values():
        for target in targets if stage.per_target else [""]:
            for name in (*stage.writes, *stage.metrics):
                path = root / name.format(target=target)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}")
    dvc(root, "commit", "--force")
    assert stale(root) == set()
    return root


def edit(workspace: Path, path: str, old: str, new: str) -> tuple[Path, str]:
    file = (workspace / path).resolve()
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file, text


@pytest.mark.parametrize(("path", "old", "new", "expected"), [
    ("nas_pipeline/cli/fleet.py", '"""', '"""Other words. ', set()),
    ("nas_pipeline/cli/app.py", '"""', '"""Other words. ', set()),
    ("nas_pipeline/actions/fleet.py", '"""', '"""Other words. ', set()),
    ("nas_pipeline/report/page.py", '"""', '"""Other words. ', set()),
    ("nas_pipeline/fleet/tuf/publish.py", '"""', '"""Other words. ', set()),
    ("nas_pipeline/stages/run.py", '"""', '"""Other words. ', set()),
    ("edge_agent/agent.py", '"""', '"""Other words. ', set()),
    ("nas_pipeline/config/schema/train.py", 'device: str = "auto"', 'device: str = "cpu"', {"search", "retrain"}),
    ("nas_pipeline/config/schema/retrain.py", "seeds: Count = 3", "seeds: Count = 4", {"retrain"}),
    ("nas_pipeline/config/schema/search.py", "latency_runs: Count = 40", "latency_runs: Count = 41", {"search"}),
    ("nas_pipeline/config/schema/verify.py", "runs: Count = 400", "runs: Count = 401", set(PER_TARGET)),
    ("nas_pipeline/config/schema/export.py", "Share = 0.005", "Share = 0.006", {"retrain", *PER_TARGET}),
    ("nas_pipeline/config/schema/fleet.py", "Positive = 256.0", "Positive = 255.0", set()),
    ("nas_pipeline/gates/verification.py", '"""', '"""Other words. ', {"verify@here", "verify@far"}),
    ("nas_pipeline/train/trainer.py", '"""', '"""Other words. ', {"search", "retrain", "export@here", "export@far"}),
    ("nas_pipeline/errors.py", '"""', '"""Other words. ', ALL),
])
def test_an_edit_makes_stale_what_depends_on_it(
    workspace: Path, path: str, old: str, new: str, expected: set[str]
) -> None:
    file, text = edit(workspace, path, old, new)
    try:
        assert stale(workspace) == expected
    finally:
        file.write_text(text, encoding="utf-8")
    assert stale(workspace) == set()


def test_working_state_depends_on_code_and_not_on_its_text(workspace: Path) -> None:
    """The version that keys .nas/search and .nas/retrain, of the copied code: computed in a process of its own."""
    def version() -> str:
        code = ("from nas_pipeline.core.source_code import code_version\n"
                f"print(code_version({STAGES['search'].modules!r}))")
        done = subprocess.run([sys.executable, "-c", code], cwd=workspace, capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONPATH": str(workspace)})
        return done.stdout.strip()

    before = version()
    assert before == code_version(STAGES["search"].modules), "equal code, equal version, wherever it lies"
    file, text = edit(workspace, "nas_pipeline/train/trainer.py", '"""', '"""Other words. ')
    assert version() == before
    file.write_text(text + "\n_ANOTHER = 1\n", encoding="utf-8")
    assert version() != before
    file.write_text(text, encoding="utf-8")
    assert version() == before
