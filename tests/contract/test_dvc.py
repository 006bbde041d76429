"""dvc.yaml and STAGES say the same of every stage: command, parameters, what is read and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.dvc import stage_names
from nas_pipeline.config.params import load_params
from nas_pipeline.stages.table import STAGES, stage_folder

ROOT = Path(__file__).resolve().parents[2]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
EVERY_STAGE = ("core", "stages")


def entry(name: str) -> dict[str, Any]:
    """The stage's entry in dvc.yaml, of all targets where it is per target, with `{target}` for the key."""
    found = FILE["stages"][name]
    if "foreach" in found:
        assert found["foreach"] == "${targets}"
        found = found["do"]
    return {key: _plain(value) for key, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [item.replace("${key}", "{target}") for item in value]
    return value.replace("${key}", "{target}")


def test_same_stages_in_the_same_order() -> None:
    assert list(FILE["stages"]) == list(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_stage_is_the_same_in_both(name: str) -> None:
    stage, written = STAGES[name], entry(name)
    assert ("foreach" in FILE["stages"][name]) == stage.per_target
    assert written["cmd"] == f"nas run {name}" + ("@{target}" if stage.per_target else "")
    assert sorted(written["params"]) == sorted(stage.params)
    code = {f"nas_pipeline/{package}" for package in (*EVERY_STAGE, *stage.code)}
    assert set(written["deps"]) == code | set(stage.reads)
    assert sorted([*written["outs"], *written.get("metrics", [])]) == sorted(stage.writes)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_writes_into_its_own_folder_only(name: str) -> None:
    stage = STAGES[name]
    whole = f"{name}@{{target}}" if stage.per_target else name
    assert all(path.startswith(f"{stage_folder(whole)}/") for path in stage.writes)


@pytest.mark.parametrize("name", STAGES)
def test_code_that_makes_a_stage_stale_exists(name: str) -> None:
    for path in entry(name)["deps"]:
        if path.startswith("nas_pipeline/"):
            assert (ROOT / path).is_dir(), path


def test_the_search_cannot_see_the_test_split() -> None:
    readers = {name for name in STAGES if any("test.npz" in path for path in entry(name)["deps"])}
    assert readers == {"retrain"}


def test_dvc_resolves_the_targets_of_params() -> None:
    targets = load_params(ROOT).targets
    whole = [name for name, stage in STAGES.items() if not stage.per_target]
    per_target = [f"{name}@{target}" for name, stage in STAGES.items() if stage.per_target for target in targets]
    assert stage_names(ROOT) == whole + per_target


def test_byte_code_is_no_code() -> None:
    ignored = (ROOT / ".dvcignore").read_text(encoding="utf-8").split("\n")
    assert "__pycache__/" in ignored
