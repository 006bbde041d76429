"""Each gate can be red, says why, and is red where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nas_pipeline.core.records import GateResult, Parity
from nas_pipeline.gates.challenger import InUse, Seal
from nas_pipeline.gates.promotion import not_worse, promotion_gates, seal_gates, told
from tests.unit.gates.toy_versions import bundle, contender, latency, policy, predictions

BASE = set(range(0, 3000, 33))
CHAMPION = InUse("1", predictions(BASE))


def answers(champion: InUse | None = CHAMPION, **changes: Any) -> dict[str, GateResult]:
    return {gate.gate: gate for gate in promotion_gates(contender(**changes), champion, policy())}


def test_a_good_version_passes_every_gate() -> None:
    assert [gate.gate for gate in answers().values() if not gate.passed] == []
    assert [gate.gate for gate in answers(champion=None).values() if not gate.passed] == []


@pytest.mark.parametrize(("gate", "changes", "says"), [
    ("accuracy_overall", {"predictions": predictions(set(range(0, 3000, 8)))}, "below its bound"),
    ("accuracy_balanced", {"predictions": predictions(set(range(0, 3000, 3)))}, "below its bound"),
    ("recall_worst_class", {"predictions": predictions(set(range(1, 3000, 6)))}, "class coat, below its bound"),
    ("calibration_ece", {"predictions": predictions(set(range(0, 3000, 7)))}, "above its bound"),
    ("robustness_mean", {"predictions": predictions(BASE, kept=0.3)}, "below its bound"),
    ("robustness_worst", {"predictions": predictions(BASE, kept=0.1)}, "blur, below its bound"),
    ("parity_top1", {"bundle": replace(bundle(), parity=Parity(64, 0.99, 0.1))}, "below its bound"),
    ("int8_drop", {"bundle": bundle(val_accuracy=0.96)}, "above its bound"),
    ("size_bytes", {"bundle": bundle(size_bytes=1001.0)}, "above its bound"),
    ("size_bytes", {"bundle": bundle(size_bytes=float("nan"))}, "the figure is missing"),
    ("latency_p95_ms", {"latency": latency(p95_ms=2.1)}, "above its bound"),
    ("latency_evidence", {"latency": latency(evidence="proxy")}, "only a latency measured"),
    ("latency_evidence", {"latency": latency(evidence="predicted")}, "only a latency measured"),
    ("latency_stable", {"latency": latency(stable=False)}, "processes disagree"),
    ("latency_file", {"latency": latency(model_sha256="b" * 64)}, "another file"),
    ("validation", {"data_valid": False}, "did not pass"),
    ("not_withdrawn", {"withdrawn": "worse in the field"}, "was rolled back"),
    ("not_worse_than_champion", {"predictions": predictions(set(range(0, 3000, 15)))}, "right with it only"),
])
def test_each_gate_can_be_red(gate: str, changes: dict[str, Any], says: str) -> None:
    found = answers(**changes)[gate]
    assert not found.passed
    assert says in found.reason
    assert gate in told([found])


def test_without_predictions_nothing_about_test_images_is_known() -> None:
    red = {name for name, gate in answers(predictions=None).items() if not gate.passed}
    assert red == {
        "accuracy_overall", "accuracy_balanced", "recall_worst_class", "calibration_ece", "robustness_mean",
        "robustness_worst", "not_worse_than_champion",
    }


def test_a_bound_that_the_target_did_not_leave_is_red() -> None:
    found = answers(verified=())
    assert {name for name, gate in found.items() if not gate.passed} == {
        "accuracy_overall", "size_bytes", "latency_p95_ms"
    }
    assert found["size_bytes"].bound == "unknown"


def test_many_images_prove_the_margin_with_either_outcome() -> None:
    bounds = policy().champion
    equal = not_worse(contender(), CHAMPION, bounds)
    assert equal.passed
    assert 0 < float(equal.figure) <= bounds.margin
    assert "at most" in equal.reason
    better = not_worse(contender(predictions=predictions(set(range(0, 3000, 300)))), CHAMPION, bounds)
    assert (better.passed, better.figure) == (True, 0.0)


@pytest.mark.parametrize(("lost", "passes"), [(0, True), (1, True), (2, False), (8, False)])
def test_few_images_fall_back_to_mcnemar_which_still_asks_for_the_margin(lost: int, passes: bool) -> None:
    champion = InUse("1", predictions({0, 1}, images=120))
    challenger = contender(predictions=predictions({0, 1, *range(50, 50 + lost)}, images=120))
    found = not_worse(challenger, champion, policy().champion)
    assert found.passed is passes
    assert "McNemar" in found.reason
    strict = policy().champion.model_copy(update={"when_unprovable": "refuse"})
    assert not not_worse(challenger, champion, strict).passed


@pytest.mark.parametrize("champion", [InUse("1", None), InUse("1", predictions(set(), first_id=2990))])
def test_without_common_images_the_policy_decides(champion: InUse) -> None:
    bounds = policy().champion
    refused = not_worse(contender(), champion, bounds)
    assert (refused.passed, refused.figure) == (False, "not comparable")
    assert "when_not_comparable" in refused.reason
    assert not_worse(contender(), champion, bounds.model_copy(update={"when_not_comparable": "accept"})).passed


@pytest.mark.parametrize(("broken", "gate"), [
    ({"model_found": "c"}, "model_file"), ({"model_bundled": ""}, "model_file"), ({"model_noted": ""}, "model_file"),
    ({"evidence_found": "c"}, "evidence_files"), ({"evidence_noted": "", "evidence_found": ""}, "evidence_files"),
])
def test_a_broken_seal_is_red(broken: dict[str, str], gate: str) -> None:
    whole = Seal("a", "a", "a", "b", "b")
    assert all(found.passed for found in seal_gates(whole))
    assert [found.gate for found in seal_gates(replace(whole, **broken)) if not found.passed] == [gate]
