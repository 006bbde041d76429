"""The examples in the docstrings of the sockets run."""

from __future__ import annotations

import doctest
import importlib

import pytest

SOCKETS = [
    "nas_pipeline.core.protocols", "nas_pipeline.space.choosers", "nas_pipeline.search.protocols",
    "nas_pipeline.data.source",
]
WITH_EXAMPLES = ["nas_pipeline.search.protocols", "nas_pipeline.data.source"]


@pytest.mark.parametrize("name", SOCKETS)
def test_the_examples_run(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert not results.failed
    assert results.attempted or name not in WITH_EXAMPLES
