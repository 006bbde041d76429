"""Fail points do nothing until they are asked for by name."""

from __future__ import annotations

import errno

import pytest

from nas_pipeline.core.failpoints import VARIABLE, reach


def test_a_point_is_passed_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    reach("here")
    monkeypatch.setenv(VARIABLE, "there:full")
    reach("here")
    with pytest.raises(OSError, match="here") as raised:
        reach("there")
    assert raised.value.errno == errno.ENOSPC
