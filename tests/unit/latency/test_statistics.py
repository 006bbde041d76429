"""Percentiles never flatter; spreads see through a slow host."""

from __future__ import annotations

import pytest

from nas_pipeline.latency.statistics import normalised_spread, percentiles_ms, relative_spread


def test_percentiles_are_observed_values_rounded_up():
    assert percentiles_ms([float(value) for value in range(1, 101)]) == (51.0, 91.0, 96.0, 100.0)
    assert percentiles_ms([2.0]) == (2.0, 2.0, 2.0, 2.0)
    assert percentiles_ms([3.0, 1.0]) == (3.0, 3.0, 3.0, 3.0)


def test_relative_spread():
    assert relative_spread([1.0, 1.1, 1.3]) == pytest.approx(0.3 / 1.1)
    assert relative_spread([5.0]) == 0.0


def test_a_host_that_slows_both_models_does_not_count_as_spread():
    model, reference = [1.0, 2.0, 1.5], [0.5, 1.0, 0.75]
    assert relative_spread(model) == pytest.approx(2 / 3)
    assert normalised_spread(model, reference) == pytest.approx(0.0)


def test_a_model_that_slows_alone_does():
    assert normalised_spread([1.0, 2.0, 1.0], [1.0, 1.0, 1.0]) == pytest.approx(1.0)
