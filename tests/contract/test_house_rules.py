"""The architecture as a test: one door per heavy dependency, small files, nothing where it must not be."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SOURCES = sorted([*REPO.glob("nas_pipeline/**/*.py"), *REPO.glob("flows/**/*.py"), *REPO.glob("edge_agent/**/*.py")])

DOORS = {
    "prefect": ["flows/"],
    "mlflow": ["nas_pipeline/registry/"],
    "optuna": ["nas_pipeline/search/", "nas_pipeline/report/", "nas_pipeline/testing/"],
    "great_expectations": ["nas_pipeline/data/expectations.py"],
    "onnx": ["nas_pipeline/export/"],
    "onnxscript": ["nas_pipeline/export/"],
    "onnxruntime": ["nas_pipeline/export/", "nas_pipeline/latency/", "edge_agent/"],
    "dvc": ["flows/"],
    "typer": ["nas_pipeline/cli/"],
    "tuf": ["nas_pipeline/fleet/", "edge_agent/"],
    "securesystemslib": ["nas_pipeline/fleet/", "edge_agent/"],
    "boto3": ["nas_pipeline/fleet/"],
    "nas_pipeline.data.test_split": ["nas_pipeline/train/retrain.py", "nas_pipeline/stages/retrain.py"],
}


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


@pytest.mark.parametrize("door", DOORS)
def test_each_heavy_dependency_has_one_door(door: str) -> None:
    intruders = [
        f"{path.relative_to(REPO)} imports {module}"
        for path in SOURCES
        for module in imported_modules(path)
        if (module == door or module.startswith(door + "."))
        and not any(str(path.relative_to(REPO)).startswith(allowed) for allowed in DOORS[door])
    ]
    assert not intruders


def test_the_door_test_sees_imports() -> None:
    seen = {module for path in SOURCES for module in imported_modules(path)}
    assert {"prefect", "mlflow", "optuna", "onnxruntime", "nas_pipeline.data.test_split"} <= seen


def test_only_retraining_reads_the_test_split() -> None:
    callers = [
        str(path.relative_to(REPO))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "read_test"
    ]
    assert callers == ["nas_pipeline/train/retrain.py"]


def test_no_source_file_needs_more_than_300_lines() -> None:
    long = {str(path.relative_to(REPO)): len(path.read_text().splitlines()) for path in SOURCES}
    assert not {name: lines for name, lines in long.items() if lines > 300}


def test_the_agent_leans_on_little() -> None:
    """What a device has to install and to trust: five packages, and nothing of the pipeline."""
    allowed = {"edge_agent", "numpy", "onnxruntime", "securesystemslib", "tuf", "urllib3"} | sys.stdlib_module_names
    agent = (REPO / "edge_agent").glob("**/*.py")
    assert {module.split(".")[0] for path in agent for module in imported_modules(path)} <= allowed


def lines_of_code(source: str) -> int:
    """Lines with something on them that is no comment and no docstring."""
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for each in tokens if each.type not in quiet for line in range(each.start[0], each.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_the_agent_can_be_read() -> None:
    """docs/decisions/0015: a change that takes more has to say why."""
    assert sum(lines_of_code(path.read_text()) for path in (REPO / "edge_agent").glob("**/*.py")) <= 2000


def test_the_mlflow_folder_is_no_package() -> None:
    assert not list((REPO / "mlflow").glob("**/*.py"))


def test_file_names_say_what_is_inside() -> None:
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert not [path for path in SOURCES if path.stem in banned]


def test_nothing_prints_but_the_command_line() -> None:
    printing = [
        str(path.relative_to(REPO))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert not printing


@pytest.mark.xdist_group("proof")
def test_tests_of_a_group_stay_together(request: pytest.FixtureRequest) -> None:
    """Where they do not, what they share is made once more by each worker: minutes, and nothing says so."""
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith("@proof")


def imported_by(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of ours that a file imports, inside functions too, but not for type checking only."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                names.add(below if below in modules else node.module)
        waiting += ast.iter_child_nodes(node)
    return {name for name in names if name in modules and modules[name] != path}


def test_no_modules_import_each_other() -> None:
    modules = {
        ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES
    }
    graph = {name: imported_by(path, modules) for name, path in modules.items()}
    while leaves := {name for name, below in graph.items() if not below}:
        graph = {name: below - leaves for name, below in graph.items() if name not in leaves}
    # What is left imports, directly or not, a circle; only the members of a circle import each other.
    while tops := set(graph) - {each for below in graph.values() for each in below}:
        graph = {name: below for name, below in graph.items() if name not in tops}
    assert not graph, f"import circles among {sorted(graph)}"
