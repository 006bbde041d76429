"""The gate: one check that compares one figure with one bound.

A gate is a pure function of one argument, the *case*: a frozen record with everything that the check may use. It
returns a `GateResult` with four parts:

* `figure`: the value that was measured, for example a p95 latency of 1.8 ms,
* `bound`: the value that the figure is compared with, for example 2.0 ms,
* `passed`: whether the gate is green (True) or red (False),
* `reason`: why a red gate is red, and what to do.

A figure or a bound that is missing or not finite makes the gate red: a gate is green for known values only. A gate
never raises for missing evidence, so that one run reports all red gates and not the first one only.

Gates are collected in tables: `verification.VERIFICATION_GATES`, `verification.REGISTRATION_GATES`,
`promotion.INTEGRITY_GATES` and `promotion.PROMOTION_GATES`. A table maps the name of each gate to its function. To add
a gate, write one function and one row; `tests/contract/test_gates.py` checks every row of every table.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Device:
    ...     power_w: float
    ...     battery_wh: float
    >>> def power(case: Device) -> GateResult:
    ...     return at_most("power_w", case.power_w, 5.0)
    >>> def battery(case: Device) -> GateResult:
    ...     return at_least("battery_wh", case.battery_wh, 20.0)
    >>> table = {"power_w": power, "battery_wh": battery}
    >>> [result.passed for result in evaluate(table, Device(power_w=4.0, battery_wh=30.0))]
    [True, True]
    >>> results = evaluate(table, Device(power_w=7.5, battery_wh=math.nan))
    >>> [result.passed for result in results]
    [False, False]
    >>> print(refusal_message("device a is not accepted", results))  # doctest: +NORMALIZE_WHITESPACE
    device a is not accepted: 2 of 2 gates are red: power_w 7.5 (bound 5): above the bound;
    battery_wh unknown (bound 20): the figure is missing
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from nas_pipeline.core.records import GateResult

CaseT = TypeVar("CaseT")

_DIGEST_CHARACTERS = 12


def evaluate(gates: Mapping[str, Callable[[CaseT], GateResult]], case: CaseT) -> list[GateResult]:
    """Returns the result of every gate of a table, green or red, in the order of the table."""
    return [gate(case) for gate in gates.values()]


def at_most(gate: str, figure: float, bound: float, subject: str = "") -> GateResult:
    """Compares a figure with an upper bound; the bound itself is green.

    Args:
        gate: Name of the gate.
        figure: The measured value; NaN where it is missing.
        bound: The largest green value; NaN where it is missing.
        subject: What the figure belongs to, such as a class; it starts the reason, also of a green result.
    """
    return _compare(gate, figure, bound, figure <= bound, "above the bound", subject)


def at_least(gate: str, figure: float, bound: float, subject: str = "") -> GateResult:
    """Compares a figure with a lower bound; the bound itself is green. Arguments as for `at_most`."""
    return _compare(gate, figure, bound, figure >= bound, "below the bound", subject)


def holds(gate: str, passed: bool, figure: float | str, bound: float | str, reason: str) -> GateResult:
    """Returns the result of a check that is not a comparison of numbers; `reason` is used only if it is red."""
    return GateResult(gate, passed, figure, bound, "" if passed else reason)


def unknown(gate: str, bound: float | str, reason: str) -> GateResult:
    """Returns a red result for a figure that is not available."""
    return GateResult(gate, False, "unknown", _finite(bound), reason)


def short_digest(digest: str) -> str:
    """Returns the first characters of a digest, or `none` for an empty one."""
    return digest[:_DIGEST_CHARACTERS] or "none"


def red_gates(results: Sequence[GateResult]) -> list[GateResult]:
    """Returns the red results in their order."""
    return [result for result in results if not result.passed]


def all_green(results: Sequence[GateResult]) -> bool:
    """Whether there is at least one result and no red one: no result is no permission."""
    return bool(results) and not red_gates(results)


def refusal_message(subject: str, results: Sequence[GateResult]) -> str:
    """Returns the message of a refusal: the only wording for registration, promotion, rollback and release.

    Args:
        subject: What is refused, for example `version 3 of toy--board is not promoted`.
        results: All results, green ones included.
    """
    if not results:
        return f"{subject}: no gate was evaluated, so none is green"
    red = red_gates(results)
    verb = "gate is" if len(results) == 1 else "gates is" if len(red) == 1 else "gates are"
    return f"{subject}: {len(red)} of {len(results)} {verb} red: {describe_gates(red)}"


def describe_gates(results: Sequence[GateResult]) -> str:
    """Returns one line that names each gate with its figure, bound and reason."""
    return "; ".join(
        f"{result.gate} {format_figure(result.figure)} (bound {format_figure(result.bound)}): "
        f"{result.reason or 'no reason was recorded'}"
        for result in results
    )


def format_figure(value: float | str) -> str:
    """Returns a figure or a bound as text with six significant digits."""
    return value if isinstance(value, str) else f"{value:.6g}"


def _compare(gate: str, figure: float, bound: float, passed: bool, violation: str, subject: str) -> GateResult:
    if not math.isfinite(bound):
        return GateResult(gate, False, _finite(figure), "unknown", "the bound is missing: verify and register again")
    if not math.isfinite(figure):
        return unknown(gate, bound, "the figure is missing")
    return GateResult(gate, passed, figure, bound, ", ".join(filter(None, (subject, "" if passed else violation))))


def _finite(value: float | str) -> float | str:
    """NaN and infinity are not valid JSON."""
    return value if isinstance(value, str) or math.isfinite(value) else "unknown"
