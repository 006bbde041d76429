"""Drift histograms: predicted classes, confidence, brightness and contrast of the images that a model processes.

A device sends them in its reports. A release contains those of the validation images as its reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from edge_agent.contract.drift import BINS, MIN_IMAGES
from nas_pipeline.errors import FleetError

EVIDENCE: Final = "drift"
"""Key of the reference in the evidence of a release, which is signed with the release."""
COUNTED: Final = ("classes", *BINS)
_MOST = 10**9


@dataclass(frozen=True, slots=True)
class DriftSums:
    """The field `drift` of a report. Every histogram contains counts that add up to `images`."""

    images: int
    classes: tuple[int, ...]
    """Images per predicted class."""
    confidence: tuple[int, ...]
    """Images per bin of the softmax probability of the predicted class, 0 to 1."""
    mean: tuple[int, ...]
    """Images per bin of the image mean of pixel / 255, 0 to 1."""
    std: tuple[int, ...]
    """Images per bin of the image standard deviation of pixel / 255, 0 to 0.5."""

    def to_json(self) -> dict[str, Any]:
        """Returns plain data in the format of a report."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def parse_drift_sums(value: Mapping[str, Any], least: int = MIN_IMAGES) -> DriftSums:
    """Parses the histograms of a report or of a release's evidence.

    Args:
        value: The plain data.
        least: Minimum number of images.

    Raises:
        FleetError: A histogram is missing, has a wrong number of bins, or does not add up to the images.
    """
    images = value.get("images")
    if set(value) != {"images", *COUNTED} or type(images) is not int or not least <= images <= _MOST:
        raise FleetError(f"drift sums need {least} to {_MOST} images and {', '.join(COUNTED)}: {value!r:.120}")
    rows: dict[str, tuple[int, ...]] = {}
    for name in COUNTED:
        row, bins = value[name], BINS[name][0] if name in BINS else None
        if not isinstance(row, list | tuple) or not all(type(count) is int and count >= 0 for count in row):
            raise FleetError(f"drift sums: {name} is not a list of counts: {row!r:.120}")
        if sum(row) != images or len(row) != (bins or len(row)):
            raise FleetError(f"drift sums: {name} has {len(row)} bins with {sum(row)} of {images} images: {row!r:.120}")
        rows[name] = tuple(row)
    return DriftSums(images, **rows)


def add_drift_sums(rows: Iterable[DriftSums]) -> DriftSums | None:
    """Adds histograms with the same number of classes; returns None if there are none."""
    summands = list(rows)
    if not summands:
        return None
    added = {name: tuple(map(sum, zip(*(getattr(row, name) for row in summands), strict=True))) for name in COUNTED}
    return DriftSums(sum(row.images for row in summands), **added)
