"""Drift detection: compares the histograms that devices report with the reference of their release. Pure functions.

The bins are those of edge_agent/contract/drift.py. A bound is never below the critical value for the number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from edge_agent.contract.drift import BINS
from edge_agent.contract.wire import Report
from nas_pipeline.errors import ConfigError, FleetError
from nas_pipeline.fleet.drift_sums import COUNTED, EVIDENCE, DriftSums, add_drift_sums, parse_drift_sums
from nas_pipeline.fleet.reports.histograms import ks, ks_critical_value, psi, psi_critical_value
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, ReleaseList

GREEN, RED, TOO_FEW, NO_REFERENCE = "green", "red", "too few images", "no reference"
_BEFORE_THE_CHANGE: Final = frozenset({"installed", "reverted"})
"""Events whose reports carry the histograms of the previous model."""


@dataclass(frozen=True, slots=True)
class DriftRules:
    """Bounds above which a difference is drift."""

    psi: float = 0.2
    """Bound on the population stability index; 0.2 to 0.25 is the usual bound for a significant change."""
    ks: float = 0.1
    """Bound on the Kolmogorov-Smirnov statistic, the largest difference of the two cumulative distributions."""
    alpha: float = 0.001
    """Significance level of the critical values. With many images they are small, and `psi` and `ks` are the bounds."""
    min_images: int = 500
    """Minimum number of reported images; below it, no figure is computed."""

    def __post_init__(self) -> None:
        if not (self.psi > 0 and self.ks > 0 and 0 < self.alpha < 0.5 and self.min_images >= 1):
            raise ConfigError(f"drift: psi, ks and min_images must be above 0, alpha between 0 and 0.5; got {self}")


@dataclass(frozen=True, slots=True)
class ObservedRelease:
    """A release, and the histograms reported by the devices that run it."""

    target: str
    model: str
    version: str
    counter: int
    reference: DriftSums | None
    seen: DriftSums | None
    devices: int
    largest_share: float
    """Share of the images that come from the device with the most images."""
    invalid: int
    """Reports whose histograms are invalid for this model; they are not counted."""


class PublishedReleases(Protocol):
    """The part of a `Repository` that drift detection uses."""

    def models(self) -> list[tuple[str, str]]:
        """Returns (target, model) of every published list."""

    def release_list(self, target: str, model: str) -> ReleaseList:
        """Returns the releases of one model."""


@dataclass(frozen=True, slots=True)
class DriftFigure:
    """One statistic of one histogram, and its bound."""

    name: str
    value: float
    bound: float

    @property
    def red(self) -> bool:
        """Whether the value exceeds the bound."""
        return self.value > self.bound


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """The result of drift detection for one release."""

    observed: ObservedRelease
    state: str
    """GREEN, RED, TOO_FEW or NO_REFERENCE."""
    figures: tuple[DriftFigure, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the verdict as plain data."""
        observed = self.observed
        return {
            "target": observed.target, "model": observed.model, "version": observed.version,
            "counter": observed.counter,
            "state": self.state, "images": observed.seen.images if observed.seen else 0, "devices": observed.devices,
            "largest_share": round(observed.largest_share, 4), "unfit": observed.invalid,
            "seen": observed.seen.to_json() if observed.seen else None,
            "reference": observed.reference.to_json() if observed.reference else None,
            "figures": [{"name": figure.name, "value": round(figure.value, 6), "bound": round(figure.bound, 6),
                         "red": figure.red} for figure in self.figures],
        }


def observe_release(target: str, listed: ReleaseEntry, reports: Iterable[Report]) -> ObservedRelease:
    """Sums the histograms of the devices that run a release.

    Args:
        target: The target of the release.
        listed: The release.
        reports: Reports of any release of the model; those of other releases are ignored.

    Raises:
        FleetError: The reference in the release's evidence is invalid.
    """
    release, card = listed.release, listed.card
    known = card.evidence.get(EVIDENCE)
    by_device: dict[str, DriftSums] = {}
    invalid = 0
    for report in reports:
        if (report.model, report.counter, report.sha256) != (release.model, release.counter, card.sha256):
            continue
        if not report.drift or report.event in _BEFORE_THE_CHANGE:
            continue
        try:
            sums = parse_drift_sums(report.drift)
        except FleetError:
            invalid += 1
            continue
        if len(sums.classes) != len(card.class_names):
            invalid += 1
            continue
        before = by_device.get(report.device)
        both = add_drift_sums([before, sums] if before else [sums])
        assert both is not None
        by_device[report.device] = both
    seen = add_drift_sums(by_device.values())
    largest = max((row.images for row in by_device.values()), default=0)
    return ObservedRelease(
        target, release.model, release.version, release.counter,
        parse_drift_sums(known, least=1) if known else None, seen, len(by_device),
        largest / seen.images if seen else 0.0, invalid,
    )


def observe_releases(
    releases: PublishedReleases, reports_of: Callable[[str, str], Iterable[Report]]
) -> list[ObservedRelease]:
    """Sums the histograms of every published release.

    Args:
        releases: The published releases.
        reports_of: (target, model) -> reports; the caller chooses the period.

    Raises:
        FleetError: The published files cannot be read, or a reference in them is invalid.
    """
    observed = []
    for target, model in releases.models():
        reports = list(reports_of(target, model))
        observed += [observe_release(target, row, reports) for row in releases.release_list(target, model)]
    return observed


def evaluate_drift(observed: ObservedRelease, rules: DriftRules) -> DriftVerdict:
    """Compares the reported histograms with the reference. Only the state RED requires an action."""
    if observed.reference is None:
        return DriftVerdict(observed, NO_REFERENCE, ())
    if observed.seen is None or observed.seen.images < rules.min_images:
        return DriftVerdict(observed, TOO_FEW, ())
    figures = compare(observed.reference, observed.seen, rules)
    return DriftVerdict(observed, RED if any(figure.red for figure in figures) else GREEN, figures)


def compare(known: DriftSums, seen: DriftSums, rules: DriftRules) -> tuple[DriftFigure, ...]:
    """Returns the PSI of every histogram, and the KS statistic of those with ordered bins."""
    figures = []
    for name in COUNTED:
        expected, actual = getattr(known, name), getattr(seen, name)
        bound = max(rules.psi, psi_critical_value(expected, actual, rules.alpha))
        figures.append(DriftFigure(f"psi {name}", psi(expected, actual), bound))
    for name in BINS:
        expected, actual = getattr(known, name), getattr(seen, name)
        bound = max(rules.ks, ks_critical_value(expected, actual, rules.alpha))
        figures.append(DriftFigure(f"ks {name}", ks(expected, actual), bound))
    return tuple(figures)
