"""The launcher of the pipeline flow: lock, environment and server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import environment
from flows.lock import workspace_lock
from nas_pipeline.errors import Transient, WorkspaceBusy


def test_a_second_pipeline_is_refused_with_the_holders_process_id(tmp_path: Path) -> None:
    with workspace_lock(tmp_path):
        with pytest.raises(WorkspaceBusy, match=str(os.getpid())) as caught, workspace_lock(tmp_path):
            pass
        assert isinstance(caught.value, Transient)
    with workspace_lock(tmp_path):
        pass


def test_the_lock_is_released_when_its_holder_dies(tmp_path: Path) -> None:
    hold = (
        "import sys, os, pathlib\nfrom flows.lock import workspace_lock\n"
        "with workspace_lock(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", hold, str(tmp_path)], check=False)
    assert done.returncode == -9
    with workspace_lock(tmp_path):
        pass


def test_telemetry_is_off_whatever_the_user_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    monkeypatch.setenv("PREFECT_HOME", "/mine")
    environment.prepare(tmp_path)
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert os.environ["PREFECT_HOME"] == "/mine"


def test_the_interpreters_scripts_come_first_in_path() -> None:
    path = environment.with_interpreter_scripts({"PATH": "/usr/bin"})["PATH"]
    assert path == f"{Path(sys.executable).parent}{os.pathsep}/usr/bin"


def test_importing_the_launcher_does_not_import_prefect() -> None:
    code = "import sys, flows.pipeline; sys.exit(bool({'prefect', 'mlflow', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
