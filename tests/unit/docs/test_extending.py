"""Every code block of docs/extending.md runs, alone and as it stands; the YAML of it is a valid params.yaml."""

from __future__ import annotations

import re
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
PYTHON = {title: code for language, title, code in BLOCKS if language == "python"}
YAML = {title: code for language, title, code in BLOCKS if language == "yaml"}


def test_every_kind_of_plug_in_has_a_block() -> None:
    assert len(BLOCKS) == PAGE.count("\n```") // 2, "a block without a title is not run"
    folders = {str(Path(title).parent) for title in PYTHON}
    assert folders == {
        "nas_pipeline/space", "nas_pipeline/search/strategies", "nas_pipeline/data/sources",
        "nas_pipeline/latency/probes", "nas_pipeline/train",
    }
    assert len(PYTHON) == 6
    assert list(YAML) == ["params.yaml"]


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


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    for table, file in re.findall(r"\| `([A-Z]+)` in `([^`]+)`", PAGE):
        assert re.search(rf"^{table}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), (table, file)
    for suite in re.findall(r"`(test_\w+\.py)`", PAGE):
        assert (ROOT / "tests" / "contract" / suite).is_file(), suite
