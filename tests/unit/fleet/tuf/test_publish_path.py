"""The path of a publication through the code: how many functions handle the name of the target, and what they read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from typer.testing import CliRunner

from nas_pipeline.cli.app import app
from nas_pipeline.registry.publish import Published
from tests.unit.registry.conftest import shared, store, workspace
from tests.unit.registry.versions import Versions

__all__ = ["shared", "store", "workspace"]  # fixtures

REPO = Path(__file__).resolve().parents[4]
TARGET = "traced-device"
"""A name that no other argument has by chance."""


def _nas(*arguments: str) -> None:
    result = CliRunner().invoke(app, ["fleet", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@contextmanager
def traced_arguments(value: str) -> Iterator[dict[CodeType, set[str]]]:
    """Records the functions of the product that are called with `value`: code -> names of the arguments."""
    functions: dict[CodeType, set[str]] = {}

    def record(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and ("/nas_pipeline/" in code.co_filename or "/edge_agent/" in code.co_filename):
            count = code.co_argcount + code.co_kwonlyargcount
            arguments = {name: frame.f_locals.get(name) for name in code.co_varnames[:count]}
            names = {name for name, argument in arguments.items() if type(argument) is str and argument == value}
            if names:
                functions.setdefault(code, set()).update(names)

    sys.setprofile(record)
    try:
        yield functions
    finally:
        sys.setprofile(None)


def test_fewer_than_20_functions_take_the_name_of_the_target(
    workspace: Path, shared: tuple[Path, Published], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Versions(workspace, store, shared[1], TARGET).add(wrong=set())
    (workspace / "params.yaml").write_text((REPO / "params.yaml").read_text().replace("local-cpu", TARGET))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    _nas("init", "--root", str(workspace))
    with traced_arguments(TARGET) as functions:
        _nas("publish", "--target", TARGET, "--root", str(workspace))
    for code, names in functions.items():
        print(code.co_filename.split("/b/")[-1], code.co_qualname, names)
    print(len(functions))
    assert len(functions) < 20, sorted(code.co_qualname for code in functions)
