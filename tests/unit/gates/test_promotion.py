"""Every gate of promotion with a violating version; the paired comparison; missing evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nas_pipeline.core.records import GateResult, Parity
from nas_pipeline.gates.challenger import Challenger, ChampionPredictions, Integrity
from nas_pipeline.gates.gate import refusal_message
from nas_pipeline.gates.policy import ChampionComparison
from nas_pipeline.gates.promotion import PromotionCase, integrity_gates, not_worse_than_champion, promotion_gates
from tests.unit.gates.toy_versions import bundle, challenger, latency, policy, predictions

BASE = set(range(0, 3000, 33))
CHAMPION = ChampionPredictions("1", predictions(BASE))


def results(champion: ChampionPredictions | None = CHAMPION, **changes: Any) -> dict[str, GateResult]:
    return {gate.gate: gate for gate in promotion_gates(challenger(**changes), champion, policy())}


def compare(version: Challenger, champion: ChampionPredictions | None, bounds: ChampionComparison) -> GateResult:
    return not_worse_than_champion(PromotionCase(version, champion, policy().model_copy(update={"champion": bounds})))


def test_a_good_version_passes_every_gate() -> None:
    assert [gate.gate for gate in results().values() if not gate.passed] == []
    assert [gate.gate for gate in results(champion=None).values() if not gate.passed] == []


@pytest.mark.parametrize(("gate", "changes", "fact"), [
    ("accuracy_overall", {"predictions": predictions(set(range(0, 3000, 8)))}, "below the bound"),
    ("accuracy_balanced", {"predictions": predictions(set(range(0, 3000, 3)))}, "below the bound"),
    ("recall_worst_class", {"predictions": predictions(set(range(1, 3000, 6)))}, "class coat, below the bound"),
    ("calibration_ece", {"predictions": predictions(set(range(0, 3000, 7)))}, "above the bound"),
    ("robustness_mean", {"predictions": predictions(BASE, retained=0.3)}, "below the bound"),
    ("robustness_worst", {"predictions": predictions(BASE, retained=0.1)}, "blur, below the bound"),
    ("parity_top1", {"bundle": replace(bundle(), parity=Parity(64, 0.99, 0.1))}, "below the bound"),
    ("int8_drop", {"bundle": bundle(val_accuracy=0.96)}, "above the bound"),
    ("size_bytes", {"bundle": bundle(size_bytes=1001.0)}, "above the bound"),
    ("size_bytes", {"bundle": bundle(size_bytes=float("nan"))}, "the figure is missing"),
    ("latency_p95_ms", {"latency": latency(p95_ms=2.1)}, "above the bound"),
    ("latency_evidence", {"latency": latency(evidence="proxy")}, "measure on the target"),
    ("latency_evidence", {"latency": latency(evidence="predicted")}, "measure on the target"),
    ("latency_stable", {"latency": latency(stable=False)}, "processes disagree"),
    ("latency_file", {"latency": latency(model_sha256="b" * 64)}, "another file"),
    ("validation", {"data_valid": False}, "did not pass"),
    ("not_withdrawn", {"withdrawn": "worse in the field"}, "was rolled back"),
    ("not_worse_than_champion", {"predictions": predictions(set(range(0, 3000, 15)))}, "correct only with version"),
])
def test_a_violating_version_is_red(gate: str, changes: dict[str, Any], fact: str) -> None:
    result = results(**changes)[gate]
    assert not result.passed
    assert fact in result.reason
    assert f"{gate} " in refusal_message("version 2", [result])


def test_without_predictions_nothing_about_test_images_is_known() -> None:
    red = {name for name, gate in results(predictions=None).items() if not gate.passed}
    assert red == {
        "accuracy_overall", "accuracy_balanced", "recall_worst_class", "calibration_ece", "robustness_mean",
        "robustness_worst", "not_worse_than_champion",
    }


def test_a_bound_that_verification_did_not_record_is_red() -> None:
    gates = results(verified=())
    assert {name for name, gate in gates.items() if not gate.passed} == {
        "accuracy_overall", "size_bytes", "latency_p95_ms"
    }
    assert gates["size_bytes"].bound == "unknown"


def test_many_images_prove_the_margin_with_either_outcome() -> None:
    bounds = policy().champion
    equal = compare(challenger(), CHAMPION, bounds)
    assert equal.passed
    assert 0 < float(equal.figure) <= bounds.margin
    assert "at most" in equal.reason
    better = compare(challenger(predictions=predictions(set(range(0, 3000, 300)))), CHAMPION, bounds)
    assert (better.passed, better.figure) == (True, 0.0)


@pytest.mark.parametrize(("lost", "passes"), [(0, True), (1, True), (2, False), (8, False)])
def test_few_images_fall_back_to_mcnemar_which_still_requires_the_margin(lost: int, passes: bool) -> None:
    champion = ChampionPredictions("1", predictions({0, 1}, images=120))
    candidate = challenger(predictions=predictions({0, 1, *range(50, 50 + lost)}, images=120))
    result = compare(candidate, champion, policy().champion)
    assert result.passed is passes
    assert "McNemar" in result.reason
    strict = policy().champion.model_copy(update={"when_unprovable": "refuse"})
    assert not compare(candidate, champion, strict).passed


@pytest.mark.parametrize("champion", [
    ChampionPredictions("1", None), ChampionPredictions("1", predictions(set(), first_id=2990)),
])
def test_without_common_images_the_policy_decides(champion: ChampionPredictions) -> None:
    bounds = policy().champion
    refused = compare(challenger(), champion, bounds)
    assert (refused.passed, refused.figure) == (False, "not comparable")
    assert "when_not_comparable" in refused.reason
    assert compare(challenger(), champion, bounds.model_copy(update={"when_not_comparable": "accept"})).passed


@pytest.mark.parametrize(("broken", "gate"), [
    ({"model_stored": "c"}, "model_file"), ({"model_bundled": ""}, "model_file"),
    ({"model_recorded": ""}, "model_file"), ({"evidence_stored": "c"}, "evidence_files"),
    ({"evidence_recorded": "", "evidence_stored": ""}, "evidence_files"),
])
def test_files_that_are_not_the_registered_ones_are_red(broken: dict[str, str], gate: str) -> None:
    whole = Integrity("a", "a", "a", "b", "b")
    assert all(result.passed for result in integrity_gates(whole))
    assert [result.gate for result in integrity_gates(replace(whole, **broken)) if not result.passed] == [gate]
