"""May this bundle be promoted on this target? Pure: figures in, one answer per gate out.

A figure that is missing or not a number is red: a gate opens only for what is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas_pipeline.core.records import GateResult, LatencyReport, ModelBundle, TargetDevice
from nas_pipeline.errors import GateRefusal
from nas_pipeline.export.bundle import MODEL_FILE

_NO_EVIDENCE = "evidence ranks, it does not promote: measure on the target itself"


def gates(
    report: LatencyReport, bundle: ModelBundle, target: TargetDevice, *, min_agreement: float, max_int8_drop: float,
    data_valid: bool,
) -> list[GateResult]:
    """Every gate's answer, green or red, in a fixed order.

    Args:
        report: Latency of the bundle's model file.
        bundle: What would be promoted.
        target: Where to, with its bounds.
        min_agreement: Share of images on which the file and the network must name the same class.
        max_int8_drop: Accuracy that the file may lose against the fp32 network, absolute: 0.01 is one point.
        data_valid: Whether the validation stage passed the data.
    """
    metrics = bundle.metrics
    tested = "test_accuracy" if "test_accuracy" in metrics else "val_accuracy"
    drop = metrics.get("fp32_val_accuracy", math.nan) - metrics.get("val_accuracy", math.nan)
    spread_bound = float(report.host.get("max_spread", math.nan))
    return [
        _at_most("latency_p95_ms", report.p95_ms, target.latency_ms),
        _evidence(report),
        GateResult(
            "stability", report.stable is True, report.spread,
            spread_bound if math.isfinite(spread_bound) else "stable",
            "" if report.stable is True else "processes disagree: free the machine of other work and measure again",
        ),
        _at_most("size_bytes", metrics.get("size_bytes", math.nan), float(target.size_bytes)),
        _at_least(tested, metrics.get(tested, math.nan), target.min_accuracy),
        _at_least("parity_top1", bundle.parity.top1_agreement, min_agreement),
        _at_most("int8_drop", drop, max_int8_drop),
        _same_file(report, bundle),
        GateResult(
            "validation", data_valid is True, "valid" if data_valid is True else "not valid", "valid",
            "" if data_valid is True else "the data did not pass validation: see its report",
        ),
    ]


def refuse_if_red(results: Sequence[GateResult], target: TargetDevice) -> None:
    """Do nothing when every gate is green.

    Raises:
        GateRefusal: At least one is red (or there are none); each red one is named with its figure and bound.
    """
    if not results:
        raise GateRefusal(f"target {target.name}: no gate was asked, so none is green")
    red = [result for result in results if not result.passed]
    if red:
        told = "; ".join(
            f"{item.gate} {_shown(item.figure)} (bound {_shown(item.bound)}): {item.reason or 'no reason given'}"
            for item in red
        )
        raise GateRefusal(f"target {target.name}: {len(red)} of {len(results)} gates are red: {told}")


def _at_most(gate: str, figure: float, bound: float) -> GateResult:
    return _compared(gate, figure, bound, figure <= bound, "above its bound")


def _at_least(gate: str, figure: float, bound: float) -> GateResult:
    return _compared(gate, figure, bound, figure >= bound, "below its bound")


def _compared(gate: str, figure: float, bound: float, holds: bool, otherwise: str) -> GateResult:
    if not math.isfinite(figure):
        return GateResult(gate, False, "unknown", bound, "the figure is missing")
    return GateResult(gate, holds, figure, bound, "" if holds else otherwise)


def _evidence(report: LatencyReport) -> GateResult:
    measured = report.evidence == "measured"
    return GateResult(
        "evidence", measured, report.evidence, "measured", "" if measured else f"{report.evidence} {_NO_EVIDENCE}"
    )


def _same_file(report: LatencyReport, bundle: ModelBundle) -> GateResult:
    shipped = bundle.files.get(MODEL_FILE, "")
    same = bool(shipped) and report.model_sha256 == shipped
    return GateResult(
        "same_file", same, report.model_sha256[:12] or "unknown", shipped[:12] or "unknown",
        "" if same else f"the latency is not that of the bundle's {MODEL_FILE}: verify this bundle again",
    )


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
