"""The gates of verification and of registration: latency, size, accuracy and parity of one exported file.

A red gate is a result, not an exception: the caller decides what to refuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nas_pipeline.core.records import GateResult, LatencyReport, ModelBundle, TargetDevice
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.gates.gate import at_least, at_most, evaluate, holds, red_gates, short_digest


@dataclass(frozen=True, slots=True)
class VerificationCase:
    """What the gates of verification compare."""

    report: LatencyReport
    """Latency of the bundle's model file."""
    bundle: ModelBundle
    target: TargetDevice
    """The target with its bounds."""
    min_agreement: float
    """Smallest share of images on which the file and the network must predict the same class."""
    max_int8_drop: float
    """Largest accuracy that the file may lose against the fp32 network, absolute: 0.01 is one percentage point."""
    data_valid: bool
    """Whether the data passed validation."""


VerificationGate = Callable[[VerificationCase], GateResult]
"""One gate of verification; see `gate`."""


def latency_p95(case: VerificationCase) -> GateResult:
    """The p95 latency is at most the target's bound."""
    return at_most("latency_p95_ms", case.report.p95_ms, case.target.latency_ms)


def evidence(case: VerificationCase) -> GateResult:
    """The latency was measured on the target."""
    return measured_latency("evidence", case.report)


def stability(case: VerificationCase) -> GateResult:
    """The processes of the measurement agree."""
    bound = float(case.report.host.get("max_spread", math.nan))
    return stable_latency("stability", case.report, bound if math.isfinite(bound) else "stable")


def size_bytes(case: VerificationCase) -> GateResult:
    """The size of the file is at most the target's bound."""
    return at_most("size_bytes", case.bundle.metrics.get("size_bytes", math.nan), float(case.target.size_bytes))


def accuracy(case: VerificationCase) -> GateResult:
    """The test accuracy is at least the target's bound; without a test accuracy, `val_accuracy` is the gate's name."""
    metrics = case.bundle.metrics
    name = "test_accuracy" if "test_accuracy" in metrics else "val_accuracy"
    return at_least(name, metrics.get(name, math.nan), case.target.min_accuracy)


def parity_top1(case: VerificationCase) -> GateResult:
    """The file and the trained network predict the same class for enough images."""
    return at_least("parity_top1", case.bundle.parity.top1_agreement, case.min_agreement)


def int8_drop(case: VerificationCase) -> GateResult:
    """The file loses little validation accuracy against the fp32 network."""
    return at_most("int8_drop", accuracy_drop(case.bundle), case.max_int8_drop)


def same_file(case: VerificationCase) -> GateResult:
    """The latency is that of the file that ships."""
    return latency_of_file("same_file", case.report, case.bundle)


def validation(case: VerificationCase) -> GateResult:
    """The data passed validation."""
    return valid_data("validation", case.data_valid)


VERIFICATION_GATES: Mapping[str, VerificationGate] = {
    "latency_p95_ms": latency_p95,
    "evidence": evidence,
    "stability": stability,
    "size_bytes": size_bytes,
    "test_accuracy": accuracy,
    "parity_top1": parity_top1,
    "int8_drop": int8_drop,
    "same_file": same_file,
    "validation": validation,
}
"""Every gate of verification, in the order of the report."""


def verification_gates(case: VerificationCase) -> list[GateResult]:
    """Returns the result of every gate of verification, green or red."""
    return evaluate(VERIFICATION_GATES, case)


@dataclass(frozen=True, slots=True)
class RegistrationCase:
    """What the gates of registration compare."""

    latency: LatencyReport
    bundle: ModelBundle
    verified: Sequence[GateResult]
    """The results of verification."""


RegistrationGate = Callable[[RegistrationCase], GateResult]
"""One gate of registration; see `gate`."""


def measured_on_target(case: RegistrationCase) -> GateResult:
    """The latency was measured on the target, whatever the stored results contain."""
    return measured_latency("evidence", case.latency)


def measured_file(case: RegistrationCase) -> GateResult:
    """The latency is that of the file that ships, whatever the stored results contain."""
    return latency_of_file("measured_file", case.latency, case.bundle)


def any_gate(case: RegistrationCase) -> GateResult:
    """At least one gate of verification was evaluated."""
    return holds("gates", bool(case.verified), len(case.verified), 1, "verification recorded no result: verify again")


REGISTRATION_GATES: Mapping[str, RegistrationGate] = {
    "evidence": measured_on_target,
    "measured_file": measured_file,
    "gates": any_gate,
}
"""The checks that registration makes itself, beside the results of verification."""


def registration_gates(case: RegistrationCase) -> list[GateResult]:
    """Returns the results of verification and those of registration; a red gate is listed once."""
    listed = {result.gate for result in red_gates(case.verified)}
    return [*case.verified, *(own for own in evaluate(REGISTRATION_GATES, case) if own.gate not in listed)]


# Checks that verification, registration and promotion share, each under its own name.


def measured_latency(gate: str, latency: LatencyReport) -> GateResult:
    """The latency was measured on the target: a proxy or a prediction is red."""
    return holds(gate, latency.evidence == "measured", latency.evidence, "measured",
                 f"{latency.evidence} evidence can rank candidates but passes no gate: measure on the target itself")


def stable_latency(gate: str, latency: LatencyReport, bound: float | str = "stable") -> GateResult:
    """The processes of the measurement agree; the figure is their spread."""
    return holds(gate, latency.stable is True, latency.spread, bound,
                 "the processes disagree: stop other work on the machine and measure again")


def latency_of_file(gate: str, latency: LatencyReport, bundle: ModelBundle) -> GateResult:
    """The latency is that of the bundle's model file."""
    shipped, measured = bundle.files.get(MODEL_FILE, ""), latency.model_sha256
    return holds(gate, bool(shipped) and measured == shipped, short_digest(measured), short_digest(shipped),
                 f"the latency is not that of the bundle's {MODEL_FILE} but of another file: verify this bundle again")


def valid_data(gate: str, valid: bool) -> GateResult:
    """The data passed validation."""
    return holds(gate, valid is True, "valid" if valid is True else "not valid", "valid",
                 "the data did not pass validation: see artifacts/validate/report.json")


def accuracy_drop(bundle: ModelBundle) -> float:
    """Returns the validation accuracy of the fp32 network minus that of the file; NaN where one is missing."""
    return bundle.metrics.get("fp32_val_accuracy", math.nan) - bundle.metrics.get("val_accuracy", math.nan)
