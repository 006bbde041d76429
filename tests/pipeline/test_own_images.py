"""A stranger's 600 pictures, from `nas init` to a champion, and what happens to the versions after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas_pipeline.config.params import overlay
from tests.generated_images import write_images

REPO = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own images")]


def nas(*arguments: str, code: int = 0) -> str:
    """What a command printed; `code` is the exit status that it must have."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", "from nas_pipeline.cli.app import main; main()", *arguments], cwd=REPO, env=environment,
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def change(project: Path, changes: dict[str, Any]) -> None:
    path = project / "params.yaml"
    path.write_text(yaml.safe_dump(overlay(yaml.safe_load(path.read_text()), changes), sort_keys=False))


def standing(project: Path) -> str:
    return nas("history", "--target", "local-cpu", "--root", str(project)).splitlines()[0]


def test_from_a_folder_of_pictures_to_a_champion_and_back(tmp_path: Path) -> None:
    images, project = tmp_path / "shapes", tmp_path / "project"
    root, target = ("--root", str(project)), ("--target", "local-cpu")
    write_images(images)
    assert "600 images in 5 classes" in nas("init", str(project), "--images", str(images))

    assert "version 1 is candidate" in nas("pipeline", *root)
    assert "version 1 is champion" in nas("promote", *target, *root)
    gates = json.loads((project / "artifacts/verify/local-cpu/gates.json").read_text())
    assert all(gate["passed"] for gate in gates)

    # Hardly trained: good enough for these bounds, and worse than what is in use.
    change(project, {"retrain": {"device_s": None, "epochs": 0.3, "seeds": 1, "baselines": []},
                     "targets": {"local-cpu": {"min_accuracy": 0.05}},
                     "export": {"max_int8_drop": 0.9, "min_agreement_int8": 0.01, "min_agreement_fp32": 0.01}})
    assert "version 2 is candidate" in nas("pipeline", *root)
    refused = nas("promote", *target, *root, "--why", "nightly", code=4)
    assert "not_worse_than_champion" in refused
    assert standing(project).startswith("shapes--local-cpu: champion 1")

    change(project, {"retrain": {"device_s": 21.0, "epochs": None}})
    assert "version 3 is candidate" in nas("pipeline", *root)
    assert "version 3 is champion" in nas("promote", *target, *root)
    nas("rollback", *target, *root, "--why", "test")
    assert standing(project).startswith("shapes--local-cpu: champion 1")
    events = nas("history", *target, *root)
    assert events.count("promoted version") == 2
    assert "nightly" in events
