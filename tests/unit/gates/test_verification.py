"""Each gate of verification, one at a time with the others green; the message of a refusal."""

from __future__ import annotations

import dataclasses
import math

import pytest

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import GateResult, InputSpec, LatencyReport, ModelBundle, Parity, TargetDevice
from nas_pipeline.gates.gate import all_green, refusal_message
from nas_pipeline.gates.verification import VerificationCase, verification_gates

SHA = "a" * 64
TARGET = TargetDevice(name="board", probe="local", latency_ms=2.0, size_bytes=1000, min_accuracy=0.9)
REPORT = LatencyReport(
    evidence="measured", p50_ms=1.0, p90_ms=1.5, p95_ms=2.0, p99_ms=50.0, runs=1000, processes=5, threads=1,
    spread=0.1, stable=True, model_sha256=SHA, reference_p50_ms=1.0, host={"max_spread": 0.25},
)
METRICS = {"val_accuracy": 0.93, "fp32_val_accuracy": 0.94, "test_accuracy": 0.92, "size_bytes": 1000.0}
BUNDLE = ModelBundle(
    target="board", genotype=Genotype("toy", 1, ()), files={"model.onnx": SHA}, spec=InputSpec(1, 8, 8, 10),
    precision="int8", metrics=METRICS, parity=Parity(100, 0.99, 0.1), provenance={},
)


def evaluate(report: LatencyReport = REPORT, bundle: ModelBundle = BUNDLE, data_valid: bool = True) -> list[GateResult]:
    return verification_gates(
        VerificationCase(report, bundle, TARGET, min_agreement=0.99, max_int8_drop=0.0101, data_valid=data_valid)
    )


def red(results: list[GateResult]) -> list[str]:
    return [result.gate for result in results if not result.passed]


def metrics(**changed: float) -> ModelBundle:
    return dataclasses.replace(BUNDLE, metrics={**METRICS, **changed})


def without(*names: str) -> ModelBundle:
    return dataclasses.replace(BUNDLE, metrics={key: value for key, value in METRICS.items() if key not in names})


def test_all_green_at_the_bounds_though_p99_is_far_beyond():
    results = evaluate()
    assert red(results) == []
    assert [result.gate for result in results] == [
        "latency_p95_ms", "evidence", "stability", "size_bytes", "test_accuracy", "parity_top1", "int8_drop",
        "same_file", "validation",
    ]
    assert all_green(results)


@pytest.mark.parametrize(
    ("changed", "gate"),
    [
        ({"p95_ms": 2.001}, "latency_p95_ms"),
        ({"p95_ms": math.nan}, "latency_p95_ms"),
        ({"evidence": "proxy"}, "evidence"),
        ({"evidence": "predicted"}, "evidence"),
        ({"stable": False}, "stability"),
        ({"model_sha256": "b" * 64}, "same_file"),
        ({"model_sha256": ""}, "same_file"),
    ],
)
def test_report(changed, gate):
    assert red(evaluate(report=dataclasses.replace(REPORT, **changed))) == [gate]


@pytest.mark.parametrize(
    ("bundle", "gate"),
    [
        (metrics(size_bytes=1001.0), "size_bytes"),
        (without("size_bytes"), "size_bytes"),
        (metrics(test_accuracy=0.899), "test_accuracy"),
        (metrics(test_accuracy=math.nan), "test_accuracy"),
        (metrics(val_accuracy=0.91), "int8_drop"),
        (without("fp32_val_accuracy"), "int8_drop"),
        (dataclasses.replace(BUNDLE, parity=Parity(100, 0.98, 0.1)), "parity_top1"),
        (dataclasses.replace(BUNDLE, files={}), "same_file"),
    ],
)
def test_bundle(bundle, gate):
    assert red(evaluate(bundle=bundle)) == [gate]


def test_without_a_test_accuracy_the_validation_accuracy_is_judged():
    assert red(evaluate(bundle=without("test_accuracy"))) == []
    bundle = dataclasses.replace(BUNDLE, metrics={**without("test_accuracy").metrics, "val_accuracy": 0.89,
                                                  "fp32_val_accuracy": 0.89})
    assert red(evaluate(bundle=bundle)) == ["val_accuracy"]


def test_data_that_did_not_pass_validation():
    assert red(evaluate(data_valid=False)) == ["validation"]


def test_proxy_evidence_names_the_evidence_in_its_reason():
    results = evaluate(report=dataclasses.replace(REPORT, evidence="proxy"))
    (result,) = [item for item in results if item.gate == "evidence"]
    assert result.reason.startswith("proxy evidence")


def test_the_refusal_names_every_red_gate_with_figure_and_bound():
    report = dataclasses.replace(REPORT, p95_ms=3.5, stable=False, spread=0.4)
    results = evaluate(report=report)
    assert not all_green(results)
    message = refusal_message("target board", results)
    assert "target board: 2 of 9 gates are red" in message
    assert "latency_p95_ms 3.5 (bound 2)" in message
    assert "stability 0.4 (bound 0.25)" in message
    assert "size_bytes" not in message


def test_no_results_are_no_permission():
    assert not all_green([])
    assert "no gate was evaluated" in refusal_message("target board", [])


def test_results_survive_json():
    for result in evaluate(report=dataclasses.replace(REPORT, p95_ms=math.nan)):
        assert GateResult.from_json(result.to_json()) == result
        assert result.figure == result.figure  # never NaN: it is not JSON
