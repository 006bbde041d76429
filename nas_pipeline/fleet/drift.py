"""Do the devices still see what the network was trained for? Sums of the fleet against those of the validation split.

Pure. Population stability index: Siddiqi, Credit Risk Scorecards, 2006, chapter 8. Two-sample Kolmogorov-Smirnov with
its asymptotic critical value: Smirnov, Ann. Math. Statist. 19(2), 1948; on bins it finds less, never more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.drift import BINS, Sums, added, binned, sums
from edge_agent.wire import Report
from nas_pipeline.errors import FleetError

_HALF = 0.5
"""Added to every bin, so that an empty one is not infinitely far away."""


@dataclass(frozen=True, slots=True)
class DriftSums:
    """What the devices of one family saw with the newest release of one model."""

    family: str
    model: str
    counter: int
    """Of that release."""
    reports: int
    sums: Sums


@dataclass(frozen=True, slots=True)
class Bounds:
    """What counts as drift."""

    psi: float = 0.2
    """0.1 is called small and 0.25 large in the literature."""
    alpha: float = 0.001
    """Chance that a difference as large is none."""
    min_images: int = 1000
    """Below, nothing is said: with 16 bins, chance alone makes a PSI of 15 / images."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One histogram, compared."""

    psi: float
    ks: float | None
    """Largest distance of the two distributions; None where the bins have no order (classes)."""
    ks_critical: float | None
    crossed: bool
    """PSI above its bound, and the distance above what chance makes of it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether there is drift, and how it is known."""

    family: str
    model: str
    counter: int
    images: int
    reference_images: int
    enough: bool
    crossed: tuple[str, ...]
    figures: dict[str, Figure]
    bounds: Bounds

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def collected(reports: Iterable[Report]) -> list[DriftSums]:
    """The sums in reports, by family and model; of each, those under its highest counter. What is no sum is left out.

    A report under another counter may speak of another model, or of another time.
    """
    found: dict[tuple[str, str], DriftSums] = {}
    for report in reports:
        if not _are_sums(report.drift):
            continue
        key = report.family, report.model
        before = found.get(key)
        if before is not None and before.counter > report.counter:
            continue
        same = before is not None and before.counter == report.counter
        if same and before is not None and len(before.sums["classes"]) != len(report.drift["classes"]):
            continue
        total = added(before.sums, report.drift) if same and before is not None else report.drift
        number = 1 + (before.reports if same and before is not None else 0)
        found[key] = DriftSums(*key, report.counter, number, total)
    return [found[key] for key in sorted(found)]


def reference(
    images: npt.NDArray[np.uint8], predictions: npt.NDArray[np.integer], confidence: npt.NDArray[np.floating],
    classes: int,
) -> Sums:
    """The same sums of the validation split: images uint8 [N, H, W, C], the answers of the file that ships [N]."""
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    of_images = sums(channels_first, np.zeros((len(images), classes)))
    counts = np.bincount(predictions, minlength=classes).tolist()
    return {**of_images, "classes": counts, "confidence": binned("confidence", confidence)}


def compare(seen: DriftSums, expected: Sums, bounds: Bounds) -> Verdict:
    """The verdict on what the devices saw.

    Raises:
        FleetError: The two are of networks with other classes.
    """
    if len(seen.sums["classes"]) != len(expected["classes"]):
        raise FleetError(
            f"devices of {seen.family} count {len(seen.sums['classes'])} classes, the reference "
            f"{len(expected['classes'])}: they run a model of other data; compare with the artefacts of its own run"
        )
    images, others = seen.sums["images"], expected["images"]
    enough = min(images, others) >= bounds.min_images
    figures = {
        name: _figure(seen.sums[name], expected[name], bounds, ordered=name in BINS) for name in ("classes", *BINS)
    }
    crossed = tuple(name for name, figure in figures.items() if figure.crossed) if enough else ()
    return Verdict(seen.family, seen.model, seen.counter, images, others, enough, crossed, figures, bounds)


def psi(one: Sequence[int], other: Sequence[int]) -> float:
    """Population stability index of two histograms."""
    p, q = (np.asarray(counts, float) + _HALF for counts in (one, other))
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def ks(one: Sequence[int], other: Sequence[int]) -> float:
    """Largest distance of the two distributions at the edges of the bins."""
    p, q = (np.cumsum(counts) / max(1, sum(counts)) for counts in (one, other))
    return float(np.abs(p - q).max())


def ks_critical(n: int, m: int, alpha: float) -> float:
    """What chance exceeds with probability `alpha` for samples of `n` and `m`."""
    return math.sqrt(-math.log(alpha / 2) / 2 * (n + m) / (n * m)) if n and m else math.inf


def _figure(one: Sequence[int], other: Sequence[int], bounds: Bounds, *, ordered: bool) -> Figure:
    index = psi(one, other)
    if not ordered:
        return Figure(index, None, None, index > bounds.psi)
    distance, critical = ks(one, other), ks_critical(sum(one), sum(other), bounds.alpha)
    return Figure(index, distance, critical, index > bounds.psi and distance > critical)


def _are_sums(value: dict[str, Any]) -> bool:
    """A device signs what it says; that does not make it sense."""
    if set(value) != {"images", "classes", *BINS} or type(value["images"]) is not int:
        return False
    rows = {name: value[name] for name in ("classes", *BINS)}
    return all(
        isinstance(row, list) and 1 <= len(row) <= 100_000 and all(type(each) is int and each >= 0 for each in row)
        and sum(row) == value["images"] for row in rows.values()
    ) and all(len(rows[name]) == bins for name, (bins, _) in BINS.items())
