"""docs/runbook.md has an entry for every error class and every exit code, and names no class that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nas_pipeline.errors import ERRORS

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
ENTRIES: dict[str, str] = dict(re.findall(r"^### (\w+)[^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))


def test_the_entries_are_the_error_classes() -> None:
    assert set(ENTRIES) == set(ERRORS)


@pytest.mark.parametrize("name", ERRORS)
def test_an_entry_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    for part in ("Meaning", "Look", "Do"):
        assert re.search(rf"^- \*\*{part}:\*\* \S", ENTRIES[name], re.MULTILINE), part


@pytest.mark.parametrize("name", ERRORS)
def test_an_entry_names_the_exit_code(name: str) -> None:
    code = ERRORS[name].exit_code
    heading = re.search(rf"^### {name}\b(.*)$", PAGE, re.MULTILINE)
    assert heading is not None
    assert heading.group(1) == f" (exit {code})"


def test_every_exit_code_is_explained() -> None:
    table = dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE))
    assert {int(code) for code in table} == {0, 130} | {cls.exit_code for cls in ERRORS.values()}
