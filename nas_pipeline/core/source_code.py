"""Which modules a module imports, and a digest of their code.

Both are computed from the source text. Imports inside functions count; imports under `if TYPE_CHECKING:` do not.
DVC's dependencies and the keys of working state come from here, so that both name the same code.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ("nas_pipeline", "edge_agent")
"""Top-level packages whose modules are followed."""


def imported_modules(roots: Iterable[str]) -> dict[str, Path]:
    """Returns the modules that `roots` import, directly or through others, with their files.

    A module's parent packages are imported before it, so their `__init__.py` files are part of the answer.

    Args:
        roots: Dotted names of modules; they are part of the answer.

    Raises:
        ModuleNotFoundError: A root does not exist.

    Example:
        >>> sorted(imported_modules(["nas_pipeline.errors"]))
        ['nas_pipeline', 'nas_pipeline.errors']
    """
    modules: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in modules:
            continue
        path = _file_of(name)
        if path is None:
            raise ModuleNotFoundError(f"there is no module {name}")
        modules[name] = path
        waiting += [*_parents(name), *_imports_of(path)]
    return dict(sorted(modules.items()))


def code_version(roots: Iterable[str]) -> str:
    """Returns the sha256 of the code that `roots` import, without comments, docstrings and formatting.

    Working state that one version of the code has written is not read by another. Text that changes no result changes
    no version. The version also changes with the minor version of Python, whose syntax tree it is computed from.
    """
    digest = hashlib.sha256()
    for name, path in imported_modules(roots).items():
        digest.update(f"{name}\n{_normalised(path, path.stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


@functools.cache
def _folder_of(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _file_of(name: str) -> Path | None:
    """Returns the file of a module below PACKAGES, or None if there is no such module."""
    package, *rest = name.split(".")
    if package not in PACKAGES or (folder := _folder_of(package)) is None:
        return None
    path = folder.joinpath(*rest)
    candidates = (path / "__init__.py", path.with_suffix(".py")) if rest else (path / "__init__.py",)
    return next((each for each in candidates if each.is_file()), None)


def _imports_of(path: Path) -> list[str]:
    names: list[str] = []
    for node in _executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                names.append(below if _file_of(below) else node.module)
    return [name for name in names if _file_of(name)]


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes below `node`, those in the body of `if TYPE_CHECKING:` excepted."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.orelse:
                yield statement
                yield from _executed(statement)
            continue
        yield child
        yield from _executed(child)


@functools.cache
def _normalised(path: Path, _modified_ns: int) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]  # has a body
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
