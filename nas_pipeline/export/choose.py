"""Choice of the precision that ships to a target: a pure function of figures. A choice is not a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas_pipeline.core.measures import Constraint
from nas_pipeline.core.records import Parity, Precision, TargetDevice
from nas_pipeline.errors import ExportError


@dataclass(frozen=True, slots=True)
class Candidate:
    """One exported file with its figures."""

    precision: Precision
    path: Path
    sha256: str
    size_bytes: int
    val_accuracy: float
    """Validation accuracy of this file."""
    p95_ms: float
    parity: Parity


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidate that ships, and for each candidate the reason why it ships or not."""

    chosen: Candidate
    reasons: dict[Precision, str]
    within_bounds: bool
    """False: no candidate (or not the forced precision) meets the bounds; the verify gates will fail."""


def choose(candidates: Sequence[Candidate], target: TargetDevice, *, int8_drop: float) -> Choice:
    """Choose the file that ships to `target`.

    The most accurate candidate within the bounds (size, latency, accuracy of the target, drop against fp32) ships.
    Candidates less than `int8_drop` / 2 behind it count as equally accurate, and the fastest of them is chosen. If no
    candidate is within the bounds, the least violating one is chosen. `target.precision` forces a precision.
    `int8_drop` is the absolute accuracy that INT8 may lose against fp32: 0.01 is one point.

    Raises:
        ExportError: There is no candidate, two have the same precision, or none has the forced precision.
    """
    by_precision = {candidate.precision: candidate for candidate in candidates}
    if not candidates or len(by_precision) != len(candidates):
        raise ExportError(f"need one candidate per precision, got {[item.precision for item in candidates]}")
    excesses = {item.precision: _excesses(item, by_precision.get("fp32"), target, int8_drop) for item in candidates}
    within = [item for item in candidates if not excesses[item.precision]]
    forced = target.precision != "auto"
    if forced:
        chosen = _forced(by_precision, target)
    elif within:
        best = max(item.val_accuracy for item in within)
        equal = [item for item in within if best - item.val_accuracy <= int8_drop / 2]
        chosen = min(equal, key=lambda item: (item.p95_ms, item.size_bytes, item.precision))
    else:
        chosen = min(candidates, key=lambda item: (sum(excesses[item.precision].values()), item.precision))
    reasons = {
        item.precision: _reason(item, chosen, excesses[item.precision], target.name if forced else "")
        for item in candidates
    }
    return Choice(chosen, reasons, not excesses[chosen.precision])


def _forced(by_precision: dict[Precision, Candidate], target: TargetDevice) -> Candidate:
    for precision, candidate in by_precision.items():
        if precision == target.precision:
            return candidate
    raise ExportError(
        f"target {target.name!r} asks for {target.precision}, but only {', '.join(by_precision)} was exported: "
        f"export {target.precision} too, or set its precision to auto"
    )


def _excesses(
    candidate: Candidate, fp32: Candidate | None, target: TargetDevice, int8_drop: float
) -> dict[str, float]:
    """Description of a violated bound -> relative excess."""
    figures = {
        "size_bytes": float(candidate.size_bytes),
        "p95_ms": candidate.p95_ms,
        "val_accuracy": candidate.val_accuracy,
    }
    bounds = [
        Constraint("size_bytes", at_most=target.size_bytes),
        Constraint("p95_ms", at_most=target.latency_ms),
        Constraint("val_accuracy", at_least=target.min_accuracy),
    ]
    if candidate.precision == "int8" and fp32 is not None:
        figures["drop against fp32"] = fp32.val_accuracy - candidate.val_accuracy
        bounds.append(Constraint("drop against fp32", at_most=int8_drop))
    violations = {bound: bound.violation(figures) for bound in bounds}
    return {
        f"{bound.metric} {figures[bound.metric]:.6g} {_side(bound)}": excess
        for bound, excess in violations.items() if excess > 0
    }


def _side(bound: Constraint) -> str:
    return f"above {bound.at_most:.6g}" if bound.at_most is not None else f"below {bound.at_least:.6g}"


def _reason(item: Candidate, chosen: Candidate, excesses: dict[str, float], forced_by: str) -> str:
    figures = f"val_accuracy {item.val_accuracy:.4f}, p95 {item.p95_ms:.3f} ms, {item.size_bytes} bytes"
    outside = f"; outside its bounds: {'; '.join(excesses)}" if excesses else ""
    if item is chosen:
        if forced_by:
            return f"chosen: target {forced_by} asks for it ({figures}){outside}"
        if excesses:
            return f"chosen although nothing is within the bounds: the least violating ({figures}){outside}"
        return f"chosen ({figures})"
    if forced_by:
        return f"not chosen: target {forced_by} asks for {chosen.precision} ({figures}){outside}"
    if excesses:
        return f"not chosen ({figures}){outside}"
    behind = chosen.val_accuracy - item.val_accuracy
    if behind > 0:
        why = f"less accurate by {behind:.4f}" + (" and slower" if item.p95_ms > chosen.p95_ms else "")
    else:
        why = f"slower, and its lead of {-behind:.4f} counts as none"
    return f"not chosen: {why} than {chosen.precision} ({figures})"
