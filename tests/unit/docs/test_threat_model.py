"""What the threat model says is shown by a test is a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_it_is_there(file: str, name: str) -> None:
    path = ROOT / "tests" / "security" / file
    assert path.is_file()
    tests = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert not name or name in tests


def test_every_file_of_attacks_is_spoken_of() -> None:
    assert {path.name for path in (ROOT / "tests" / "security").glob("test_*.py")} <= {
        *(file for file, _ in NAMED), *re.findall(r"`(test_\w+\.py)`", PAGE)}
