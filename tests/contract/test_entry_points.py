"""Every kind of plug-in can be added by another package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]
GROUPS = {
    "strategies": "strategy", "evaluators": "evaluator", "spaces": "space", "operations": "op", "probes": "probe",
    "sources": "source", "early_stopping": "early_stopping", "optimisers": "optimiser",
}
"""Group of entry points -> kind in `nas catalog --json`."""


def test_each_group_adds_to_its_catalogue(tmp_path: Path) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(
        f"[nas_pipeline.{group}]\ntheir_{kind} = their_module:Theirs" for group, kind in GROUPS.items()
    ))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPO)])}
    code = "import sys; from nas_pipeline.cli.app import main; sys.argv[1:] = ['catalog', '--json']; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True,
                          cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    catalogue = json.loads(done.stdout)
    assert {kind for kind in GROUPS.values() if f"their_{kind}" in catalogue[kind]} == set(GROUPS.values())
