"""Names: no banned identifier, no banned file name, and one public type name for one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PRODUCT = sorted(path for package in ("nas_pipeline", "flows", "edge_agent") for path in (REPO / package).rglob("*.py"))
EVERYTHING = sorted([*PRODUCT, *(REPO / "tests").rglob("*.py"), *(REPO / "benchmarks").rglob("*.py")])

BANNED = {
    "found", "told", "said", "kept", "taken", "heard", "given", "asked", "up", "back", "utils", "helpers", "manager",
    "common", "misc", "handle",
}
BANNED_FILES = BANNED | {"util", "helper"}

SHARED_TYPE_NAMES: dict[str, str] = {}
"""Type names that two modules may both define, each with the reason."""


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a module introduces, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name, node.lineno


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(REPO)))
def test_no_banned_identifier(path: Path) -> None:
    banned = [(name, line) for name, line in names(ast.parse(path.read_text())) if name.strip("_") in BANNED]
    assert not banned


def test_no_banned_file_name() -> None:
    assert not [path for path in EVERYTHING if path.stem in BANNED_FILES]


def test_the_test_of_names_sees_them() -> None:
    tree = ast.parse("def given(found, *told, **said):\n    kept = 1\n    self.up = 2\n    import x as back\n")
    assert {name for name, _ in names(tree)} == {"given", "found", "told", "said", "kept", "up", "back"}


def public_types(tree: ast.Module) -> Iterator[str]:
    """Classes, and aliases of types: module-level names in CapWords."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        else:
            continue
        if name[0].isupper() and len(name) > 1 and not name.isupper() and "_" not in name:
            yield name


def test_one_public_type_name_is_one_type() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for path in PRODUCT:
        for name in public_types(ast.parse(path.read_text())):
            modules[name].append(str(path.relative_to(REPO)))
    assert not {name: where for name, where in modules.items() if len(where) > 1 and name not in SHARED_TYPE_NAMES}
