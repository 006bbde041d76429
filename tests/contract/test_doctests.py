"""The examples in the docstrings of the sockets run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "nas_pipeline.config.workspace", "nas_pipeline.core.catalog", "nas_pipeline.core.genotype",
    "nas_pipeline.core.protocols", "nas_pipeline.core.source_code", "nas_pipeline.data.source",
    "nas_pipeline.gates.gate", "nas_pipeline.search.protocols", "nas_pipeline.space.choosers", "nas_pipeline.space.ops",
    "nas_pipeline.search.differentiable.variants", "nas_pipeline.train.randomness",
    "nas_pipeline.train.test_time_augmentation",
]
"""The sockets, and other modules whose docstrings have examples."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted
    assert not results.failed
