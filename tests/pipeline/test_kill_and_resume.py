"""SIGKILL at the start, in the middle and at the end of every stage; the same command again and again.

What is left in the end is what an undisturbed run leaves: the same dvc.lock, save for the digests of files that hold
a measured time, and the same contents of those files, save for the measured times themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from nas_pipeline.stages.table import STAGES
from tests.pipeline.conftest import Finished
from tests.pipeline.small_project import log_of, make_workspace, run_pipeline, start_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]  # one run of the project serves them all

TARGET = "here"
"""The per-target stages of this one are killed; those of the other run the same code."""

HOLD_TIMES = {
    "search": {"trials.json", "winner.json", "metrics.json"},
    "retrain": {"result.json", "baselines.json", "history.json", "metrics.json"},
    "export": {"bundle.json", "metrics.json"},
    "verify": {"latency.json", "gates.json", "metrics.json"},
}
"""By stage: the files with measured times in them. All else is a function of the data, the parameters and the seeds."""

MEASURED = re.compile(r".*_ms$|wall_s|device_s|spread|raw_spread|load_average|choice|on_front")
"""Keys of measured times, of the size of a front one of whose axes is latency, and of the sentence (`choice`) with the
latencies that a file was chosen by."""


TIMED_GATES = {"latency_p95_ms", "stability"}


def stage_process(stage: str, below: psutil.Process) -> psutil.Process | None:
    """The child that runs a stage now."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in below.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.cmdline()[-2:] == ["run", stage]:
                    return child
    return None


def kill_when(root: Path, due: Callable[[psutil.Process], bool], *, all_at_once: bool) -> None:
    """SIGKILL the pipeline, with all its descendants as a power failure would, or alone: they end by themselves."""
    process = start_pipeline(root)
    pipeline = psutil.Process(process.pid)
    deadline = time.monotonic() + 300
    while not due(pipeline):
        assert process.poll() is None, log_of(root)
        assert time.monotonic() < deadline, "the moment to kill never came"
        time.sleep(0.01)
    descendants = pipeline.children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    for descendant in descendants if all_at_once else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            descendant.kill()
    process.wait()
    _, alive = psutil.wait_procs(descendants, timeout=300)
    assert not alive, f"{len(alive)} processes outlived the pipeline; {log_of(root)}"


def outputs(root: Path, stage: str) -> list[Path]:
    name, _, target = stage.partition("@")
    return [root / path.format(target=target) for path in STAGES[name].writes]


def stages_to_kill() -> list[str]:
    return [f"{name}@{TARGET}" if stage.per_target else name for name, stage in STAGES.items()]


def locked(root: Path) -> dict[str, Any]:
    """dvc.lock's stages; none where there is no such file yet."""
    path = root / "dvc.lock"
    return yaml.safe_load(path.read_text())["stages"] if path.exists() else {}


def kill_thrice(root: Path, stage: str, takes_s: float) -> None:
    """At the start, in the middle (a run that is left alone takes `takes_s`), and when the last output is written."""
    def started(pipeline: psutil.Process) -> bool:
        return stage_process(stage, pipeline) is not None

    def half_done(pipeline: psutil.Process) -> bool:
        child = stage_process(stage, pipeline)
        return stage in locked(root) or (child is not None and time.time() - child.create_time() > takes_s / 2)

    def written(pipeline: psutil.Process) -> bool:
        return all(path.exists() for path in outputs(root, stage))

    kill_when(root, started, all_at_once=True)
    assert stage not in locked(root)
    kill_when(root, half_done, all_at_once=False)
    kill_when(root, written, all_at_once=True)


def digests(root: Path) -> dict[str, Any]:
    """dvc.lock, but for files with measured times only that they are there."""
    def entry(kind: str, row: dict[str, Any]) -> tuple[Any, ...]:
        path = Path(row["path"])
        timed = path.parts[0] == "artifacts" and path.name in HOLD_TIMES.get(path.parts[1], ())
        return (kind, row["path"]) if timed else (kind, row["path"], row["md5"])

    return {
        name: [stage["cmd"], stage["params"], *(entry(kind, row) for kind in ("deps", "outs") for row in stage[kind])]
        for name, stage in locked(root).items()
    }


def without_times(value: Any) -> Any:
    """A JSON value without what a clock gave."""
    if isinstance(value, dict):
        timed = {"figure"} if value.get("gate") in TIMED_GATES else set()
        return {key: without_times(inner) for key, inner in value.items()
                if key not in timed and not MEASURED.fullmatch(key)}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def contents(root: Path) -> dict[str, Any]:
    """The files with measured times in them, without those times."""
    return {
        str(path.relative_to(root)): without_times(json.loads(path.read_text()))
        for stage, names in HOLD_TIMES.items()
        for name in names for path in sorted((root / "artifacts" / stage).rglob(name))
    }


def test_killed_at_the_start_in_the_middle_and_at_the_end_of_every_stage(finished: Finished, tmp_path: Path) -> None:
    root = make_workspace(tmp_path)
    before: dict[str, Any] = {}
    for stage in stages_to_kill():
        kill_thrice(root, stage, finished.last_run["stages"][stage]["wall_s"])
        done = locked(root)
        assert {name: done[name] for name in before} == before, f"{stage} was killed, and a finished stage ran again"
        before = done
    code, last = run_pipeline(root)
    assert code == 0, log_of(root)
    assert {row["state"] for name, row in last["stages"].items() if name in before} == {"cached"}

    assert digests(root) == digests(finished.root)
    assert contents(root) == contents(finished.root)
    trials = json.loads((root / "artifacts/search/trials.json").read_text())
    assert [(row["rung"], row["number"]) for row in trials] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)], (
        "a trial was lost or done twice")
