"""The gates of promotion: whether a registered version may become champion.

`INTEGRITY_GATES` are evaluated first: the contents of files that are not the registered ones are not used at all.
`PROMOTION_GATES` compare the evidence of the version with the policy and with the champion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from nas_pipeline.core.predictions import Predictions
from nas_pipeline.core.records import GateResult
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.gates import quality
from nas_pipeline.gates.challenger import Challenger, ChampionPredictions, Integrity
from nas_pipeline.gates.comparison import not_worse
from nas_pipeline.gates.gate import at_least, at_most, evaluate, holds, short_digest, unknown
from nas_pipeline.gates.policy import Policy
from nas_pipeline.gates.verification import (
    accuracy_drop,
    latency_of_file,
    measured_latency,
    stable_latency,
    valid_data,
)

_NO_PREDICTIONS = "no predictions of this file were recorded when the test split was read: retrain, export and register"
_NO_CORRUPTED = "no predictions on corrupted images were recorded for this file: retrain, export and register"


@dataclass(frozen=True, slots=True)
class PromotionCase:
    """What the gates of promotion compare."""

    challenger: Challenger
    champion: ChampionPredictions | None
    """None where there is no champion yet."""
    policy: Policy


IntegrityGate = Callable[[Integrity], GateResult]
"""One gate on the stored files; see `gate`."""
PromotionGate = Callable[[PromotionCase], GateResult]
"""One gate of promotion; see `gate`."""


def model_file(case: Integrity) -> GateResult:
    """The stored model is the registered one."""
    same = bool(case.model_recorded) and case.model_recorded == case.model_stored == case.model_bundled
    return holds("model_file", same, short_digest(case.model_stored), short_digest(case.model_recorded),
                 f"the stored {MODEL_FILE} is not the one that was registered; register this bundle again")


def evidence_files(case: Integrity) -> GateResult:
    """The stored evidence is the registered one."""
    same = bool(case.evidence_recorded) and case.evidence_recorded == case.evidence_stored
    return holds("evidence_files", same, short_digest(case.evidence_stored), short_digest(case.evidence_recorded),
                 "the stored evidence is missing or is not what was registered; publish and register again")


def not_withdrawn(case: PromotionCase) -> GateResult:
    """The version was not rolled back."""
    why = case.challenger.withdrawn
    return holds("not_withdrawn", not why, why or "never rolled back", "never rolled back",
                 "this version was rolled back; select it with --version to promote it again")


def accuracy_overall(case: PromotionCase) -> GateResult:
    """The share of test images that are classified correctly."""
    bound = _bound(case, case.policy.accuracy.overall, "test_accuracy", "val_accuracy")
    if (tested := _tested(case)) is None:
        return unknown("accuracy_overall", bound, _NO_PREDICTIONS)
    return at_least("accuracy_overall", float(tested.correct.mean()), bound)


def accuracy_balanced(case: PromotionCase) -> GateResult:
    """The mean of the recalls of the classes."""
    bound = case.policy.accuracy.balanced
    if (tested := _tested(case)) is None:
        return unknown("accuracy_balanced", bound, _NO_PREDICTIONS)
    return at_least("accuracy_balanced", float(np.nanmean(_recalls(case, tested))), bound)


def recall_worst_class(case: PromotionCase) -> GateResult:
    """The recall of the class with the lowest one; the reason names the class."""
    bound = case.policy.accuracy.recall
    if (tested := _tested(case)) is None:
        return unknown("recall_worst_class", bound, _NO_PREDICTIONS)
    recalls = _recalls(case, tested)
    worst = int(np.nanargmin(recalls))
    return at_least("recall_worst_class", float(recalls[worst]), bound, f"class {case.challenger.class_names[worst]}")


def calibration_ece(case: PromotionCase) -> GateResult:
    """The expected calibration error on the test images."""
    bound = case.policy.calibration.ece
    if (tested := _tested(case)) is None:
        return unknown("calibration_ece", bound, _NO_PREDICTIONS)
    return at_most("calibration_ece", quality.ece(tested), bound)


def parity_top1(case: PromotionCase) -> GateResult:
    """The file and the trained network predict the same class for enough images."""
    bundle = case.challenger.bundle
    return at_least("parity_top1", bundle.parity.top1_agreement, getattr(case.policy.parity, bundle.precision))


def int8_drop(case: PromotionCase) -> GateResult:
    """The file loses little validation accuracy against the fp32 network."""
    return at_most("int8_drop", accuracy_drop(case.challenger.bundle), case.policy.int8_drop)


def size_bytes(case: PromotionCase) -> GateResult:
    """The size of the file."""
    bound = _bound(case, case.policy.size_bytes, "size_bytes")
    return at_most("size_bytes", case.challenger.bundle.metrics.get("size_bytes", math.nan), bound)


def latency_p95(case: PromotionCase) -> GateResult:
    """The p95 latency on the target."""
    bound = _bound(case, case.policy.latency_p95_ms, "latency_p95_ms")
    return at_most("latency_p95_ms", case.challenger.latency.p95_ms, bound)


def latency_evidence(case: PromotionCase) -> GateResult:
    """The latency was measured on the target."""
    return measured_latency("latency_evidence", case.challenger.latency)


def latency_stable(case: PromotionCase) -> GateResult:
    """The processes of the measurement agree."""
    return stable_latency("latency_stable", case.challenger.latency)


def latency_file(case: PromotionCase) -> GateResult:
    """The latency is that of the file that ships."""
    return latency_of_file("latency_file", case.challenger.latency, case.challenger.bundle)


def robustness_mean(case: PromotionCase) -> GateResult:
    """The mean over corruptions of the accuracy on corrupted images, as a share of that on the clean ones."""
    bound, retained = case.policy.robustness.mean_kept, _retained_accuracy(case)
    if not retained:
        return unknown("robustness_mean", bound, _NO_CORRUPTED)
    return at_least("robustness_mean", fmean(retained.values()), bound)


def robustness_worst(case: PromotionCase) -> GateResult:
    """The same share for the corruption with the lowest one; the reason names the corruption."""
    bound, retained = case.policy.robustness.worst_kept, _retained_accuracy(case)
    if not retained:
        return unknown("robustness_worst", bound, _NO_CORRUPTED)
    worst = min(retained, key=lambda name: retained[name])
    return at_least("robustness_worst", retained[worst], bound, worst)


def validation(case: PromotionCase) -> GateResult:
    """The data passed validation."""
    return valid_data("validation", case.challenger.data_valid)


def not_worse_than_champion(case: PromotionCase) -> GateResult:
    """The paired test of `comparison` on test images that both versions classified."""
    if case.champion is None:
        return holds("not_worse_than_champion", True, "no champion yet", case.policy.champion.margin, "")
    if (tested := _tested(case)) is None:
        return unknown("not_worse_than_champion", case.policy.champion.margin, _NO_PREDICTIONS)
    return not_worse(
        "not_worse_than_champion", tested, case.champion.predictions, case.policy.champion,
        challenger_version=case.challenger.version, champion_version=case.champion.version,
    )


INTEGRITY_GATES: Mapping[str, IntegrityGate] = {
    "model_file": model_file,
    "evidence_files": evidence_files,
}
"""Every gate on the stored files."""

PROMOTION_GATES: Mapping[str, PromotionGate] = {
    "not_withdrawn": not_withdrawn,
    "accuracy_overall": accuracy_overall,
    "accuracy_balanced": accuracy_balanced,
    "recall_worst_class": recall_worst_class,
    "calibration_ece": calibration_ece,
    "parity_top1": parity_top1,
    "int8_drop": int8_drop,
    "size_bytes": size_bytes,
    "latency_p95_ms": latency_p95,
    "latency_evidence": latency_evidence,
    "latency_stable": latency_stable,
    "latency_file": latency_file,
    "robustness_mean": robustness_mean,
    "robustness_worst": robustness_worst,
    "validation": validation,
    "not_worse_than_champion": not_worse_than_champion,
}
"""Every gate of promotion, in the order of the report."""


def integrity_gates(integrity: Integrity) -> list[GateResult]:
    """Returns the results of the gates on the stored files."""
    return evaluate(INTEGRITY_GATES, integrity)


def promotion_gates(
    challenger: Challenger, champion: ChampionPredictions | None, policy: Policy
) -> list[GateResult]:
    """Returns the result of every gate of promotion, green or red. `champion` is None where there is none yet."""
    return evaluate(PROMOTION_GATES, PromotionCase(challenger, champion, policy))


def _tested(case: PromotionCase) -> Predictions | None:
    """The recorded predictions on test images; None where there are none."""
    predictions = case.challenger.predictions
    return predictions if predictions is not None and len(predictions.labels) else None


def _recalls(case: PromotionCase, tested: Predictions) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return quality.recalls(tested, len(case.challenger.class_names))


def _retained_accuracy(case: PromotionCase) -> dict[str, float]:
    tested = _tested(case)
    return tested.kept_accuracy() if tested is not None else {}


def _bound(case: PromotionCase, stated: float | str, *verified_names: str) -> float:
    """The bound of the policy, or, for `target`, the one that verification recorded; NaN where it recorded none."""
    if not isinstance(stated, str):
        return float(stated)
    recorded = {result.gate: result.bound for result in case.challenger.verified}
    bound = next((recorded[name] for name in verified_names if name in recorded), math.nan)
    return math.nan if isinstance(bound, str) else float(bound)
