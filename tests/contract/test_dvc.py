"""dvc.yaml is what the table of stages and their imports generate; each stage is stale when its code changes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.dvc import stage_names
from nas_pipeline.actions.dvc_yaml import code_dependencies, dvc_yaml
from nas_pipeline.config.params import load_params
from nas_pipeline.core.source_code import imported_modules
from nas_pipeline.stages.table import STAGES, stage_folder

ROOT = Path(__file__).resolve().parents[2]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def entry(name: str) -> dict[str, Any]:
    """The stage's entry in dvc.yaml, of all targets where it is per target, with `{target}` for the key."""
    stage = FILE["stages"][name]
    if "foreach" in stage:
        assert stage["foreach"] == "${targets}"
        stage = stage["do"]
    return {key: _plain(value) for key, value in stage.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [item.replace("${key}", "{target}") for item in value]
    return value.replace("${key}", "{target}")


def code(name: str) -> list[str]:
    return [path for path in entry(name)["deps"] if path.startswith(("nas_pipeline", "edge_agent"))]


def test_the_file_is_generated() -> None:
    assert (ROOT / "dvc.yaml").read_text(encoding="utf-8") == dvc_yaml(), "run: nas dvc-yaml --write dvc.yaml"


def test_same_stages_in_the_same_order() -> None:
    assert list(FILE["stages"]) == list(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_stage_is_the_same_in_both(name: str) -> None:
    stage, written = STAGES[name], entry(name)
    assert ("foreach" in FILE["stages"][name]) == stage.per_target
    assert written["cmd"] == f"nas run {name}" + ("@{target}" if stage.per_target else "")
    assert sorted(written["params"]) == sorted(stage.params)
    assert set(written["deps"]) == {*code_dependencies(stage), *stage.reads}
    assert sorted(written["outs"]) == sorted(stage.writes)
    assert sorted(written.get("metrics", [])) == sorted(stage.metrics)


@pytest.mark.parametrize("name", STAGES)
def test_the_dependencies_are_exactly_the_imported_modules(name: str) -> None:
    stage = STAGES[name]
    listed = {
        path.resolve()
        for dependency in code(name)
        for path in ([ROOT / dependency] if dependency.endswith(".py") else (ROOT / dependency).rglob("*.py"))
    }
    assert listed == {path.resolve() for path in imported_modules(stage.modules).values()}


@pytest.mark.parametrize("name", STAGES)
def test_importing_a_stage_loads_no_module_that_is_not_a_dependency(name: str) -> None:
    """The imports that Python itself makes, against those that were read off the source."""
    code = (f"import sys, importlib\n[importlib.import_module(name) for name in {STAGES[name].modules!r}]\n"
            "print(*(name for name in sys.modules if name.split('.')[0] in ('nas_pipeline', 'edge_agent')))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= STAGES[name].code()


@pytest.mark.parametrize("name", STAGES)
def test_no_stage_depends_on_text_flows_fleet_or_report(name: str) -> None:
    for package in ("cli", "actions", "fleet", "registry", "report"):
        assert not [module for module in STAGES[name].code() if module.startswith(f"nas_pipeline.{package}")]
    assert "nas_pipeline.config.params" not in STAGES[name].code(), "only its own sections"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_writes_into_its_own_folder_only(name: str) -> None:
    stage = STAGES[name]
    whole = f"{name}@{{target}}" if stage.per_target else name
    assert all(path.startswith(f"{stage_folder(whole)}/") for path in (*stage.writes, *stage.metrics))


@pytest.mark.parametrize("name", STAGES)
def test_the_row_names_a_function(name: str) -> None:
    module, _, function = STAGES[name].run.partition(":")
    assert callable(getattr(importlib.import_module(f"nas_pipeline.stages.{module}"), function))


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
