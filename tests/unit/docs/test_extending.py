"""Every code block of docs/extending.md runs, alone and as it is; its package can be installed and is found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from nas_pipeline.config.params import overlay, parse_params, read_yaml

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str, str]] = re.findall(
    r'^```(\w+) title="([^"]+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE
)
PACKAGE = {title: code for _, title, code in BLOCKS if "/" not in title and title != "params.yaml"}
PYTHON = {title: code for language, title, code in BLOCKS if language == "python" and title not in PACKAGE}
YAML = {title: code for language, title, code in BLOCKS if language == "yaml"}
NAS = "import sys; from nas_pipeline.cli.app import main; sys.exit(main())"
ROWS: list[tuple[str, str, str]] = re.findall(
    r"^\| \[[^\n]*\| `([A-Z_]+)` in `([^`]+)` \| `(nas_pipeline\.\w+)` \|", PAGE, re.MULTILINE
)


def test_every_kind_of_plug_in_has_a_block() -> None:
    assert len(BLOCKS) == PAGE.count("\n```") // 2, "a block without a title is not run"
    folders = {str(Path(title).parent) for title in PYTHON}
    assert folders == {
        "nas_pipeline/space", "nas_pipeline/search/strategies", "nas_pipeline/search/evaluators",
        "nas_pipeline/data/sources", "nas_pipeline/latency/probes", "nas_pipeline/train",
    }
    assert len(PYTHON) == 8
    assert list(YAML) == ["params.yaml"]
    assert set(PACKAGE) == {"pyproject.toml", "nas_local_search.py", "test_nas_local_search.py"}


@pytest.mark.parametrize("title", PYTHON)
def test_the_block_works(title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = PYTHON[title]
    assert "\nassert " in code or "\n    assert " in code
    assert "\n# In the table: " in code
    module = ModuleType("block_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    exec(compile(code, f"docs/extending.md: {title}", "exec"), vars(module))


@pytest.mark.parametrize("title", PYTHON)
def test_the_place_of_the_file_exists(title: str) -> None:
    assert (ROOT / title).parent.is_dir()


def test_the_target_is_valid() -> None:
    added = yaml.safe_load(YAML["params.yaml"])
    params = parse_params(overlay(read_yaml(ROOT / "params.yaml"), added), "the page")
    name = next(iter(added["targets"]))
    assert params.targets[name].device(name).host_factor == 5.0


def test_the_catalogues_and_suites_of_the_page_are_those_of_the_code() -> None:
    assert {table for table, _, _ in ROWS} == {
        "OPS", "SPACES", "STRATEGIES", "EVALUATORS", "SOURCES", "PROBES", "OPTIMISERS", "EARLY_STOPPING",
    }
    for table, file, group in ROWS:
        code = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^{table}\b", code, re.MULTILINE), (table, file)
        assert f'entry_points="{group}"' in code, (group, file)
    for file in re.findall(r"`((?:nas_pipeline|tests)/[\w/]+\.py)`", PAGE):
        place = ROOT / file
        assert place.is_file() or (place.stem == "NAME" and place.parent.is_dir()), file


def run(arguments: list[str], folder: Path, *search_path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*search_path, ROOT)))}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=False, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_package_can_be_installed_and_its_plug_in_is_found_and_under_contract(tmp_path: Path) -> None:
    project, installed, tests = tmp_path / "project", tmp_path / "installed", tmp_path / "tests"
    for folder in (project, tests):
        folder.mkdir()
    for title in ("pyproject.toml", "nas_local_search.py"):
        (project / title).write_text(PACKAGE[title])
    (tests / "test_nas_local_search.py").write_text(PACKAGE["test_nas_local_search.py"])
    run(["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target",
         str(installed), str(project)], tmp_path)
    catalogue = json.loads(run(["-c", NAS, "catalog", "--json"], tmp_path, installed))
    assert "local_search" in catalogue["strategy"]
    suite = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)], tests, installed)
    assert re.search(r"[1-9]\d* passed", suite)
    assert "failed" not in suite
