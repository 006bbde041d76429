"""The error tree: complete in ERRORS, drawn in the docstring, with the exit codes that the drawing states."""

from __future__ import annotations

import inspect
import re

import pytest

from flows import dvc, lock
from nas_pipeline import errors
from nas_pipeline.errors import ERRORS, LockedError, NasError, Refusal, Transient

ROW = re.compile(r"^(?:[│ ]*[├└]── )?([A-Z]\w+) +(?:exit (\d))?", re.MULTILINE)
DRAWN = {name: int(code) if code else None for name, code in ROW.findall(errors.__doc__ or "")}
CLASSES = {name: cls for name, cls in vars(errors).items()
           if inspect.isclass(cls) and issubclass(cls, NasError) and cls.__module__ == errors.__name__}


def test_the_table_contains_every_error_class_of_the_module() -> None:
    assert ERRORS == CLASSES
    assert len(ERRORS) > 20


def test_the_docstring_draws_every_class_but_the_marks() -> None:
    assert set(CLASSES) - {"Refusal", "Transient"} <= set(DRAWN)


@pytest.mark.parametrize("name", CLASSES)
def test_the_drawing_states_the_exit_code(name: str) -> None:
    if name in DRAWN:
        assert CLASSES[name].exit_code == (DRAWN[name] or NasError.exit_code)


@pytest.mark.parametrize("cls", CLASSES.values())
def test_a_class_has_one_branch_and_at_most_one_mark(cls: type[NasError]) -> None:
    assert not (issubclass(cls, Refusal) and issubclass(cls, Transient))
    if issubclass(cls, Refusal):
        assert cls.exit_code == 4


@pytest.mark.parametrize("name", ["StageBusy", "WorkspaceBusy"])
def test_lock_errors_are_raised_again_by_name(name: str) -> None:
    error = ERRORS[name]("process 7")
    assert isinstance(error, LockedError)
    assert isinstance(error, Transient)
    assert ERRORS[name] is getattr(dvc, name, None) or ERRORS[name] is getattr(lock, name, None)
