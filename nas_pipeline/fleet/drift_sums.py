"""Histograms of what a model sees: predicted classes, confidence, brightness and contrast.

A device sends them in its reports; a release carries those of the validation images as its reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from edge_agent.contract.drift import BINS, MIN_IMAGES
from nas_pipeline.errors import FleetError

EVIDENCE: Final = "drift"
"""Key of the reference in a release's evidence: it is signed with the release."""
COUNTED: Final = ("classes", *BINS)
_MOST = 10**9


@dataclass(frozen=True, slots=True)
class DriftSums:
    """`drift` of a report. All but `images` are counts that add up to it."""

    images: int
    classes: tuple[int, ...]
    """By predicted class."""
    confidence: tuple[int, ...]
    """By softmax probability of the predicted class, 0 to 1."""
    mean: tuple[int, ...]
    """By an image's mean of pixel / 255, 0 to 1."""
    std: tuple[int, ...]
    """By an image's standard deviation of pixel / 255, 0 to 0.5."""

    def to_json(self) -> dict[str, Any]:
        """As a device writes it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def sums_from(value: Mapping[str, Any], least: int = MIN_IMAGES) -> DriftSums:
    """Read what a device, or a release's evidence, says.

    Raises:
        FleetError: It makes no sense: a histogram is missing, has other bins, or does not add up to the images.
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


def total(rows: Iterable[DriftSums]) -> DriftSums | None:
    """All together; None where there is nothing. All have to be of the same number of classes."""
    found = list(rows)
    if not found:
        return None
    added = {name: tuple(map(sum, zip(*(getattr(row, name) for row in found), strict=True))) for name in COUNTED}
    return DriftSums(sum(row.images for row in found), **added)
