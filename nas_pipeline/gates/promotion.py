"""May this version become champion? Every gate's answer, green or red, in a fixed order. Pure.

A figure that is missing or not a number is red: a gate opens only for what is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from nas_pipeline.core.predictions import Predictions
from nas_pipeline.core.records import GateResult, LatencyReport
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.gates import comparison, quality
from nas_pipeline.gates.challenger import Contender, InUse, Seal
from nas_pipeline.gates.policy import Champion, Policy

_NO_PREDICTIONS = "no predictions of this file were recorded when the test split was read: retrain, export and register"
_OF_VERIFY = {"overall": ("test_accuracy", "val_accuracy"), "size_bytes": ("size_bytes",),
              "latency_p95_ms": ("latency_p95_ms",)}
"""The gates of verify whose bounds are the target's."""


def seal_gates(seal: Seal) -> list[GateResult]:
    """Is what is stored what was registered? Asked first: nothing that a broken seal says can be believed."""
    model = bool(seal.model_noted) and seal.model_noted == seal.model_found == seal.model_bundled
    evidence = bool(seal.evidence_noted) and seal.evidence_noted == seal.evidence_found
    return [
        _said("model_file", model, _short(seal.model_found), _short(seal.model_noted),
              f"the stored {MODEL_FILE} is not the one that was registered; register this bundle again"),
        _said("evidence_files", evidence, _short(seal.evidence_found), _short(seal.evidence_noted),
              "the stored evidence is not what was registered, or there was none; publish and register again"),
    ]


def promotion_gates(challenger: Contender, champion: InUse | None, policy: Policy) -> list[GateResult]:
    """The answers about figures. `champion` is the version in use, None where there is none yet."""
    bundle, latency, said = challenger.bundle, challenger.latency, challenger.predictions
    bounds = _bounds(challenger.verified, policy)
    metrics = bundle.metrics
    drop = metrics.get("fp32_val_accuracy", math.nan) - metrics.get("val_accuracy", math.nan)
    return [
        _said("not_withdrawn", not challenger.withdrawn, challenger.withdrawn or "never rolled back",
              "never rolled back", "this version was rolled back; name it with --version to promote it all the same"),
        *_quality(said, challenger.class_names, bounds["overall"], policy),
        _at_least("parity_top1", bundle.parity.top1_agreement, getattr(policy.parity, bundle.precision)),
        _at_most("int8_drop", drop, policy.int8_drop),
        _at_most("size_bytes", metrics.get("size_bytes", math.nan), bounds["size_bytes"]),
        _at_most("latency_p95_ms", latency.p95_ms, bounds["latency_p95_ms"]),
        *_evidence(latency, bundle.files.get(MODEL_FILE, "")),
        *_robustness(said, policy),
        _said("validation", challenger.data_valid, "valid" if challenger.data_valid else "not valid", "valid",
              "the data did not pass validation: see its report"),
        not_worse(challenger, champion, policy.champion),
    ]


def told(gates: Sequence[GateResult]) -> str:
    """One text that names each gate with figure, bound and reason."""
    return "; ".join(
        f"{gate.gate} {shown(gate.figure)} (bound {shown(gate.bound)}): {gate.reason or 'no reason given'}"
        for gate in gates
    )


def shown(value: float | str) -> str:
    """A figure for people."""
    return value if isinstance(value, str) else f"{value:.6g}"


def not_worse(challenger: Contender, champion: InUse | None, policy: Champion) -> GateResult:
    """The paired test of `comparison`. The figure is a loss of accuracy, or says why there is none."""
    name = "not_worse_than_champion"
    if champion is None:
        return GateResult(name, True, "no champion yet", policy.margin)
    if challenger.predictions is None:
        return GateResult(name, False, "unknown", policy.margin, _NO_PREDICTIONS)
    mine, theirs = challenger.predictions, champion.predictions
    paired = comparison.pair(mine, theirs) if theirs is not None else comparison.Paired(0, 0, 0)
    against = f"version {champion.version} on {paired.images} images, {paired.champion_only} right with it only and " \
              f"{paired.challenger_only} with version {challenger.version} only"
    if paired.images < policy.min_images:
        accepted = policy.when_not_comparable == "accept"
        reason = f"{paired.images} test images in common with version {champion.version}, {policy.min_images} are " \
                 "needed; champion.when_not_comparable in mlflow/promotion.yaml says what to do then"
        return GateResult(name, accepted, "not comparable", policy.margin, reason)
    if comparison.can_be_proved(paired, policy.margin, policy.alpha):
        bound = comparison.loss_bound(paired, policy.alpha)
        reason = f"loss {paired.loss:+.4f}, at most {bound:.4f} at confidence {1 - policy.alpha:.4g}; against {against}"
        return GateResult(name, bound <= policy.margin, bound, policy.margin, reason)
    if policy.when_unprovable == "refuse":
        reason = f"too few images to prove any loss to be within the margin; against {against}"
        return GateResult(name, False, "not provable", policy.margin, reason)
    p = comparison.p_worse(paired)
    reason = f"too few images to prove the margin: exact McNemar test for being worse, p = {p:.3g} (red below " \
             f"{policy.alpha:g}); against {against}"
    return GateResult(name, p >= policy.alpha and paired.loss <= policy.margin, paired.loss, policy.margin, reason)


def _quality(
    said: Predictions | None, class_names: Sequence[str], overall: float, policy: Policy
) -> list[GateResult]:
    bounds = {"accuracy_overall": overall, "accuracy_balanced": policy.accuracy.balanced,
              "recall_worst_class": policy.accuracy.recall, "calibration_ece": policy.calibration.ece}
    if said is None:
        return [GateResult(name, False, "unknown", bound, _NO_PREDICTIONS) for name, bound in bounds.items()]
    found = quality.recalls(said, len(class_names))
    worst = int(np.nanargmin(found))
    return [
        _at_least("accuracy_overall", float(said.correct.mean()), overall),
        _at_least("accuracy_balanced", float(np.nanmean(found)), policy.accuracy.balanced),
        _at_least("recall_worst_class", float(found[worst]), policy.accuracy.recall, f"class {class_names[worst]}"),
        _at_most("calibration_ece", quality.ece(said), policy.calibration.ece),
    ]


def _robustness(said: Predictions | None, policy: Policy) -> list[GateResult]:
    kept = said.kept_accuracy() if said is not None else {}
    mean, worst = policy.robustness.mean_kept, policy.robustness.worst_kept
    if not kept:
        return [GateResult(name, False, "unknown", bound, _NO_PREDICTIONS)
                for name, bound in (("robustness_mean", mean), ("robustness_worst", worst))]
    least = min(kept, key=lambda name: kept[name])
    return [
        _at_least("robustness_mean", fmean(kept.values()), mean),
        _at_least("robustness_worst", kept[least], worst, least),
    ]


def _evidence(latency: LatencyReport, shipped: str) -> list[GateResult]:
    return [
        _said("latency_evidence", latency.evidence == "measured", latency.evidence, "measured",
              "only a latency measured on the target counts"),
        _said("latency_stable", latency.stable is True, latency.spread, "stable",
              "processes disagree: free the machine of other work and verify again"),
        _said("latency_file", bool(shipped) and latency.model_sha256 == shipped, _short(latency.model_sha256),
              _short(shipped), "the latency is that of another file: verify and register again"),
    ]


def _bounds(verified: Sequence[GateResult], policy: Policy) -> dict[str, float]:
    given = {"overall": policy.accuracy.overall, "size_bytes": policy.size_bytes,
             "latency_p95_ms": policy.latency_p95_ms}
    of_target = {gate.gate: gate.bound for gate in verified}
    return {name: _of_target(of_target, _OF_VERIFY[name]) if value == "target" else float(value)
            for name, value in given.items()}


def _of_target(bounds: Mapping[str, float | str], names: Sequence[str]) -> float:
    found = next((bounds[name] for name in names if name in bounds), math.nan)
    return math.nan if isinstance(found, str) else float(found)


def _said(gate: str, passed: bool, figure: float | str, bound: float | str, otherwise: str) -> GateResult:
    return GateResult(gate, passed, figure, bound, "" if passed else otherwise)


def _at_most(gate: str, figure: float, bound: float, of: str = "") -> GateResult:
    return _compared(gate, figure, bound, figure <= bound, "above its bound", of)


def _at_least(gate: str, figure: float, bound: float, of: str = "") -> GateResult:
    return _compared(gate, figure, bound, figure >= bound, "below its bound", of)


def _compared(gate: str, figure: float, bound: float, holds: bool, otherwise: str, of: str) -> GateResult:
    if not math.isfinite(bound):
        return GateResult(gate, False, figure if math.isfinite(figure) else "unknown", "unknown",
                          "the target's bound is not in the version's evidence: verify and register again")
    if not math.isfinite(figure):
        return GateResult(gate, False, "unknown", bound, "the figure is missing")
    return GateResult(gate, holds, figure, bound, ", ".join(filter(None, (of, "" if holds else otherwise))))


def _short(digest: str) -> str:
    return digest[:12] or "none"
