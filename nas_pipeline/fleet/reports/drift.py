"""Whether devices still see what a release was judged on: their sums against its reference, with bounds. Pure.

The bins are those of edge_agent/contract/drift.py. A bound is never below what chance alone does to so many images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from edge_agent.contract.drift import BINS
from edge_agent.contract.wire import Report
from nas_pipeline.errors import ConfigError, FleetError
from nas_pipeline.fleet.drift_sums import COUNTED, EVIDENCE, DriftSums, sums_from, total
from nas_pipeline.fleet.reports.histograms import ks, ks_of_chance, psi, psi_of_chance
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, ReleaseList

GREEN, RED, TOO_FEW, NO_REFERENCE = "green", "red", "too few images", "no reference"
_BEFORE_THE_CHANGE: Final = frozenset({"installed", "reverted"})
"""Events whose reports carry sums of the model before: they are about what was served until then."""


@dataclass(frozen=True, slots=True)
class DriftRules:
    """When a difference counts."""

    psi: float = 0.2
    """Population stability index above which a histogram is red; 0.2 to 0.25 is the usual "has changed"."""
    ks: float = 0.1
    """Largest difference of two cumulative shares above which a histogram is red, where it is no chance either."""
    alpha: float = 0.001
    """Chance that a figure exceeds what chance does. With many images chance does little, and `psi` and `ks` decide."""
    min_images: int = 500
    """Images that devices have to have told of, before anything is red."""

    def __post_init__(self) -> None:
        if not (self.psi > 0 and self.ks > 0 and 0 < self.alpha < 0.5 and self.min_images >= 1):
            raise ConfigError(f"drift: psi, ks and min_images have to be above 0, alpha between 0 and 0.5; got {self}")


@dataclass(frozen=True, slots=True)
class Watched:
    """A release, and what the devices that run it told of."""

    target: str
    model: str
    version: str
    counter: int
    reference: DriftSums | None
    seen: DriftSums | None
    devices: int
    largest_share: float
    """Of the images, from the device that told of the most."""
    unfit: int
    """Reports whose sums make no sense for this model; they are not counted."""


class Releases(Protocol):
    """Of a Repository, what is needed here."""

    def models(self) -> list[tuple[str, str]]:
        """(target, model) of what is published."""

    def release_list(self, target: str, model: str) -> ReleaseList:
        """The releases of one."""


@dataclass(frozen=True, slots=True)
class DriftFigure:
    """One comparison of one histogram."""

    name: str
    value: float
    bound: float

    @property
    def red(self) -> bool:
        """Whether the bound is crossed."""
        return self.value > self.bound


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """What became of a release."""

    watched: Watched
    state: str
    """GREEN, RED, TOO_FEW or NO_REFERENCE."""
    figures: tuple[DriftFigure, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        found = self.watched
        return {
            "target": found.target, "model": found.model, "version": found.version, "counter": found.counter,
            "state": self.state, "images": found.seen.images if found.seen else 0, "devices": found.devices,
            "largest_share": round(found.largest_share, 4), "unfit": found.unfit,
            "seen": found.seen.to_json() if found.seen else None,
            "reference": found.reference.to_json() if found.reference else None,
            "figures": [{"name": each.name, "value": round(each.value, 6), "bound": round(each.bound, 6),
                         "red": each.red} for each in self.figures],
        }


def watch(target: str, listed: ReleaseEntry, reports: Iterable[Report]) -> Watched:
    """What the devices that run a release told of, of all `reports`.

    Raises:
        FleetError: The reference in the release's evidence makes no sense.
    """
    release, card = listed.release, listed.card
    known = card.evidence.get(EVIDENCE)
    by_device: dict[str, DriftSums] = {}
    unfit = 0
    for report in reports:
        if (report.model, report.counter, report.sha256) != (release.model, release.counter, card.sha256):
            continue
        if not report.drift or report.event in _BEFORE_THE_CHANGE:
            continue
        try:
            sums = sums_from(report.drift)
        except FleetError:
            unfit += 1
            continue
        if len(sums.classes) != len(card.class_names):
            unfit += 1
            continue
        before = by_device.get(report.device)
        both = total([before, sums] if before else [sums])
        assert both is not None
        by_device[report.device] = both
    seen = total(by_device.values())
    largest = max((row.images for row in by_device.values()), default=0)
    return Watched(
        target, release.model, release.version, release.counter, sums_from(known, least=1) if known else None, seen,
        len(by_device), largest / seen.images if seen else 0.0, unfit,
    )


def watch_all(releases: Releases, heard: Callable[[str, str], Iterable[Report]]) -> list[Watched]:
    """Every release that is out, and what the devices that run it told of.

    Args:
        releases: What is published.
        heard: (target, model) -> reports; of what time is the caller's choice.

    Raises:
        FleetError: What is published cannot be read, or a reference in it makes no sense.
    """
    found = []
    for target, model in releases.models():
        reports = list(heard(target, model))
        found += [watch(target, row, reports) for row in releases.release_list(target, model)]
    return found


def judge(watched: Watched, rules: DriftRules) -> DriftVerdict:
    """Compare what was seen with the reference. No state but RED says that anything has to be done."""
    if watched.reference is None:
        return DriftVerdict(watched, NO_REFERENCE, ())
    if watched.seen is None or watched.seen.images < rules.min_images:
        return DriftVerdict(watched, TOO_FEW, ())
    figures = compare(watched.reference, watched.seen, rules)
    return DriftVerdict(watched, RED if any(each.red for each in figures) else GREEN, figures)


def compare(known: DriftSums, seen: DriftSums, rules: DriftRules) -> tuple[DriftFigure, ...]:
    """PSI of each histogram; KS of those whose bins have an order."""
    found = []
    for name in COUNTED:
        one, other = getattr(known, name), getattr(seen, name)
        bound = max(rules.psi, psi_of_chance(one, other, rules.alpha))
        found.append(DriftFigure(f"psi {name}", psi(one, other), bound))
    for name in BINS:
        one, other = getattr(known, name), getattr(seen, name)
        bound = max(rules.ks, ks_of_chance(one, other, rules.alpha))
        found.append(DriftFigure(f"ks {name}", ks(one, other), bound))
    return tuple(found)
