"""The contract package is usable on both sides: it needs the standard library only."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import edge_agent.contract
from edge_agent.contract.model_check import UnsafeModelError, check_content
from edge_agent.contract.model_limits import MAX_FILE_BYTES, MAX_OPSET, OPERATORS
from tests.security.model_files import content_of, linear

MODULES = sorted(Path(edge_agent.contract.__file__).parent.glob("**/*.py"))


def imported(path: Path) -> set[str]:
    """Absolute names of all imported modules, wherever in the file the import is."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            assert node.module is not None
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_contract_imports_the_standard_library_and_itself_only(path: Path) -> None:
    foreign = {name for name in imported(path) if name.partition(".")[0] not in sys.stdlib_module_names
               and name != "edge_agent.contract" and not name.startswith("edge_agent.contract.")}
    assert not foreign


def test_the_contract_contains_formats_and_the_model_check() -> None:
    assert {path.stem for path in MODULES} >= {"wire", "plain", "drift", "model_check", "model_limits"}
    assert "os" in imported(Path(edge_agent.contract.__file__).with_name("model_check.py"))


def test_the_default_limits_accept_a_plain_network_and_refuse_other_operators() -> None:
    check_content(content_of(linear()), max_bytes=MAX_FILE_BYTES, max_opset=MAX_OPSET)
    assert "Split" not in OPERATORS
    with pytest.raises(UnsafeModelError, match="more than 10 bytes"):
        check_content(content_of(linear()), max_bytes=10, max_opset=MAX_OPSET)
    with pytest.raises(UnsafeModelError, match=f"operator set {MAX_OPSET + 1}"):
        check_content(content_of(linear(opset=MAX_OPSET + 1)), max_bytes=MAX_FILE_BYTES, max_opset=MAX_OPSET)
