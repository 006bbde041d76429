"""The contract of gates: every row of every table, on a good case, on a violating case and on missing evidence."""

from __future__ import annotations

import dataclasses
import doctest
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from nas_pipeline.core.records import GateResult, LatencyReport, ModelBundle, Parity, TargetDevice
from nas_pipeline.gates import gate
from nas_pipeline.gates.challenger import ChampionPredictions, Integrity
from nas_pipeline.gates.promotion import INTEGRITY_GATES, PROMOTION_GATES, PromotionCase
from nas_pipeline.gates.verification import REGISTRATION_GATES, VERIFICATION_GATES, RegistrationCase, VerificationCase
from tests.unit.gates.toy_versions import bundle, challenger, latency, policy, predictions

FEW_WRONG = set(range(0, 3000, 33))
TARGET = TargetDevice(name="board", probe="local", latency_ms=2.0, size_bytes=1000, min_accuracy=0.9)
NO_PARITY = Parity(0, math.nan, math.nan)
GREEN = GateResult("size_bytes", True, 400.0, 1000.0)

Change = dict[str, Any]


def figures(**changes: float) -> ModelBundle:
    """A bundle with other figures."""
    return bundle(**{"test_accuracy": 0.97, **changes})


def without(*names: str) -> ModelBundle:
    """A bundle without some of its figures."""
    metrics = {name: value for name, value in figures().metrics.items() if name not in names}
    return dataclasses.replace(bundle(), metrics=metrics)


def verification(**changes: Any) -> VerificationCase:
    """A case for which every gate of verification is green."""
    fields: Change = {"report": latency(), "bundle": figures(), "target": TARGET, "min_agreement": 0.99,
                      "max_int8_drop": 0.01, "data_valid": True}
    return VerificationCase(**{**fields, **changes})


def registration(**changes: Any) -> RegistrationCase:
    """A case for which every gate of registration is green."""
    fields: Change = {"latency": latency(), "bundle": figures(), "verified": (GREEN,)}
    return RegistrationCase(**{**fields, **changes})


def integrity(**changes: Any) -> Integrity:
    """Stored files that are the registered ones."""
    return dataclasses.replace(Integrity("a", "a", "a", "b", "b"), **changes)


def promotion(**changes: Any) -> PromotionCase:
    """A case for which every gate of promotion is green."""
    return PromotionCase(challenger(**changes), ChampionPredictions("1", predictions(FEW_WRONG)), policy())


UNMEASURED: LatencyReport = latency(evidence="proxy")

CASES: dict[str, tuple[Callable[..., Any], Mapping[str, Callable[[Any], GateResult]], dict[str, tuple[Change, Change]]]]
CASES = {
    "verification": (verification, VERIFICATION_GATES, {
        "latency_p95_ms": ({"report": latency(p95_ms=2.001)}, {"report": latency(p95_ms=math.nan)}),
        "evidence": ({"report": UNMEASURED}, {"report": latency(evidence="")}),
        "stability": ({"report": latency(stable=False)}, {"report": latency(stable=None)}),
        "size_bytes": ({"bundle": figures(size_bytes=1001.0)}, {"bundle": without("size_bytes")}),
        "test_accuracy": ({"bundle": figures(test_accuracy=0.8)}, {"bundle": figures(test_accuracy=math.nan)}),
        "parity_top1": ({"bundle": dataclasses.replace(figures(), parity=Parity(64, 0.98, 0.1))},
                        {"bundle": dataclasses.replace(figures(), parity=NO_PARITY)}),
        "int8_drop": ({"bundle": figures(val_accuracy=0.9)}, {"bundle": without("fp32_val_accuracy")}),
        "same_file": ({"report": latency(model_sha256="b" * 64)},
                      {"bundle": dataclasses.replace(figures(), files={}), "report": latency(model_sha256="")}),
        "validation": ({"data_valid": False}, {"data_valid": None}),
    }),
    "registration": (registration, REGISTRATION_GATES, {
        "evidence": ({"latency": UNMEASURED}, {"latency": latency(evidence="")}),
        "measured_file": ({"latency": latency(model_sha256="b" * 64)},
                          {"bundle": dataclasses.replace(figures(), files={}), "latency": latency(model_sha256="")}),
        "gates": ({"verified": ()}, {"verified": []}),
    }),
    "integrity": (integrity, INTEGRITY_GATES, {
        "model_file": ({"model_stored": "c"}, {"model_recorded": "", "model_bundled": "", "model_stored": ""}),
        "evidence_files": ({"evidence_stored": "c"}, {"evidence_recorded": "", "evidence_stored": ""}),
    }),
    "promotion": (promotion, PROMOTION_GATES, {
        "not_withdrawn": ({"withdrawn": "worse in the field"}, {"withdrawn": "no reason was stated"}),
        "accuracy_overall": ({"predictions": predictions(set(range(0, 3000, 8)))}, {"predictions": None}),
        "accuracy_balanced": ({"predictions": predictions(set(range(0, 3000, 3)))}, {"predictions": None}),
        "recall_worst_class": ({"predictions": predictions(set(range(1, 3000, 6)))}, {"predictions": None}),
        "calibration_ece": ({"predictions": predictions(set(range(0, 3000, 7)))}, {"predictions": None}),
        "parity_top1": ({"bundle": dataclasses.replace(bundle(), parity=Parity(64, 0.99, 0.1))},
                        {"bundle": dataclasses.replace(bundle(), parity=NO_PARITY)}),
        "int8_drop": ({"bundle": bundle(val_accuracy=0.9)}, {"bundle": without("val_accuracy")}),
        "size_bytes": ({"bundle": bundle(size_bytes=1001.0)}, {"bundle": without("size_bytes")}),
        "latency_p95_ms": ({"latency": latency(p95_ms=2.1)}, {"verified": ()}),
        "latency_evidence": ({"latency": UNMEASURED}, {"latency": latency(evidence="")}),
        "latency_stable": ({"latency": latency(stable=False)}, {"latency": latency(stable=None)}),
        "latency_file": ({"latency": latency(model_sha256="b" * 64)},
                         {"bundle": dataclasses.replace(bundle(), files={}), "latency": latency(model_sha256="")}),
        "robustness_mean": ({"predictions": predictions(FEW_WRONG, retained=0.3)}, {"predictions": None}),
        "robustness_worst": ({"predictions": predictions(FEW_WRONG, retained=0.1)}, {"predictions": None}),
        "validation": ({"data_valid": False}, {"data_valid": None}),
        "not_worse_than_champion": ({"predictions": predictions(set(range(0, 3000, 15)))}, {"predictions": None}),
    }),
}

ROWS = [(table, name) for table, (_, gates, _) in CASES.items() for name in gates]


@pytest.mark.parametrize("table", CASES)
def test_every_row_of_the_table_has_a_case(table: str) -> None:
    _, gates, cases = CASES[table]
    assert list(cases) == list(gates)


@pytest.mark.parametrize(("table", "name"), ROWS)
def test_a_gate_is_green_on_a_good_case_and_returns_its_own_name(table: str, name: str) -> None:
    good, gates, _ = CASES[table]
    result = gates[name](good())
    assert isinstance(result, GateResult)
    assert (result.gate, result.passed) == (name, True)
    assert_readable(result)


@pytest.mark.parametrize("kind", [0, 1], ids=["violation", "missing"])
@pytest.mark.parametrize(("table", "name"), ROWS)
def test_a_gate_is_red_with_a_reason_on_a_violation_and_on_missing_evidence(table: str, name: str, kind: int) -> None:
    good, gates, cases = CASES[table]
    result = gates[name](good(**cases[name][kind]))
    assert (result.gate, result.passed) == (name, False)
    assert result.reason
    assert_readable(result)


@pytest.mark.parametrize(("table", "name"), ROWS)
def test_a_gate_is_a_pure_function_of_its_case(table: str, name: str) -> None:
    good, gates, cases = CASES[table]
    for change in ({}, *cases[name]):
        case = good(**change)
        assert gates[name](case) == gates[name](case)


def test_the_example_in_the_documentation_of_gates_runs() -> None:
    outcome = doctest.testmod(gate)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def assert_readable(result: GateResult) -> None:
    """Figure and bound are text or finite numbers, so the result can be stored as JSON."""
    for value in (result.figure, result.bound):
        assert isinstance(value, str) or math.isfinite(value)
    assert GateResult.from_json(result.to_json()) == result
