"""The choice of the precision that ships, as a table of cases."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from nas_pipeline.core.records import Parity, TargetDevice
from nas_pipeline.errors import ExportError
from nas_pipeline.export.choose import Candidate, choose

TARGET = TargetDevice(name="board", probe="local", latency_ms=2.0, size_bytes=1000, min_accuracy=0.9)
DROP = 0.01


def candidate(precision: str, accuracy: float, p95_ms: float, size: int = 500) -> Candidate:
    return Candidate(precision, Path(f"{precision}.onnx"), precision * 8, size, accuracy, p95_ms, Parity(9, 1.0, 0.0))


@pytest.mark.parametrize(
    ("fp32", "int8", "chosen", "within"),
    [
        pytest.param((0.950, 1.0), (0.949, 0.5), "int8", True, id="equally accurate: the faster"),
        pytest.param((0.950, 1.0), (0.949, 1.5), "fp32", True, id="equally accurate: int8 is slower"),
        pytest.param((0.950, 1.0), (0.950, 1.0, 400), "int8", True, id="equal in all but size: the smaller"),
        pytest.param((0.950, 1.0), (0.950, 1.0), "fp32", True, id="equal in all: the plain one"),
        pytest.param((0.950, 1.0), (0.943, 0.5), "fp32", True, id="a drop above half the bound counts"),
        pytest.param((0.950, 1.0), (0.930, 0.5), "fp32", True, id="drop too large"),
        pytest.param((0.950, 3.0), (0.943, 1.5), "int8", True, id="only int8 is fast enough"),
        pytest.param((0.950, 1.0, 4000), (0.943, 0.5), "int8", True, id="only int8 is small enough"),
        pytest.param((0.902, 1.0), (0.899, 0.5), "fp32", True, id="int8 falls below the accuracy bound"),
        pytest.param((0.950, 9.0), (0.949, 2.2), "int8", False, id="none fast enough: the least violating"),
        pytest.param((0.950, 2.2), (0.949, 9.0), "fp32", False, id="none fast enough: the least violating, fp32"),
        pytest.param((0.950, 2.1), (0.800, 0.5), "fp32", False, id="a huge drop violates more than a little time"),
        pytest.param((0.950, float("nan")), (0.949, 1.0), "int8", True, id="an unknown latency is no latency"),
    ],
)
def test_choice(fp32, int8, chosen, within):
    choice = choose([candidate("fp32", *fp32), candidate("int8", *int8)], TARGET, int8_drop=DROP)
    assert (choice.chosen.precision, choice.within_bounds) == (chosen, within)
    second = {"fp32": "int8", "int8": "fp32"}[chosen]
    assert choice.reasons[chosen].startswith("chosen")
    assert choice.reasons[second].startswith("not chosen")


def test_order_of_the_candidates_does_not_matter():
    pair = [candidate("fp32", 0.95, 1.0), candidate("int8", 0.95, 1.0)]
    assert choose(pair, TARGET, int8_drop=DROP) == choose(pair[::-1], TARGET, int8_drop=DROP)


def test_a_target_forces_its_precision_even_outside_the_bounds():
    pair = [candidate("fp32", 0.95, 1.0), candidate("int8", 0.80, 0.5)]
    choice = choose(pair, dataclasses.replace(TARGET, precision="int8"), int8_drop=DROP)
    assert choice.chosen.precision == "int8"
    assert not choice.within_bounds
    assert "drop against fp32 0.15 above 0.01" in choice.reasons["int8"]
    assert "val_accuracy 0.8 below 0.9" in choice.reasons["int8"]


def test_reasons_name_the_violated_bound_and_its_figure():
    choice = choose([candidate("fp32", 0.95, 3.0), candidate("int8", 0.95, 1.0)], TARGET, int8_drop=DROP)
    assert "p95_ms 3 above 2" in choice.reasons["fp32"]


def test_impossible_requests_are_refused():
    fp32 = candidate("fp32", 0.95, 1.0)
    with pytest.raises(ExportError, match="one candidate per precision"):
        choose([], TARGET, int8_drop=DROP)
    with pytest.raises(ExportError, match="one candidate per precision"):
        choose([fp32, fp32], TARGET, int8_drop=DROP)
    with pytest.raises(ExportError, match="asks for int8"):
        choose([fp32], dataclasses.replace(TARGET, precision="int8"), int8_drop=DROP)
