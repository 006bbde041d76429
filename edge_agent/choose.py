"""What to do with what is listed: a pure function of that and of what the device is and has. No download needed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_agent import __version__
from edge_agent.contract.wire import ModelCard, Release


@dataclass(frozen=True, slots=True)
class Offer:
    """A release that is listed, signed and genuine."""

    release: Release
    card: ModelCard
    length: int
    """Of its file, in bytes."""


@dataclass(frozen=True, slots=True)
class Device:
    """What a device is and has."""

    name: str
    model: str
    hardware: frozenset[str]
    runtime: str
    """Version of ONNX Runtime; empty: none."""
    counter: int
    """Of the highest release that it has installed."""
    live: str
    """Digest of the file in use; empty: none."""
    quarantine: Mapping[str, int]
    """Digest to the counter of its last try."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """It runs what it should, or there is nothing for it."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """The file in use, under a new counter."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Install:
    """Another file."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Refuse:
    """What it should run it may not, cannot or does not want to."""

    offer: Offer
    code: str
    message: str


def choose(offers: Sequence[Offer], device: Device) -> Nothing | Adopt | Install | Refuse:
    """The release with the highest counter whose wave admits the device decides."""
    admitted = [offer for offer in offers if offer.release.wave.admits(device.name)]
    if not admitted:
        return Nothing()
    offer = max(admitted, key=lambda offer: offer.release.counter)
    release, sha256 = offer.release, offer.card.sha256
    if (release.counter, sha256) == (device.counter, device.live):
        return Nothing()
    low, high = release.ort
    tried = device.quarantine.get(sha256)
    checks = (
        (release.model == device.model, "wrong_model", f"it is of model {release.model}, not {device.model}"),
        (release.counter == offer.card.counter and release.golden == offer.card.golden.sha256, "bad_release",
         "release.json and the signed release are not about the same"),
        (release.counter >= device.counter, "lower_counter", f"release {device.counter} was installed before"),
        (tried is None or (release.lift_quarantine and release.counter > tried), "quarantined",
         f"{sha256[:12]} failed here, last as release {tried}: publish another one, or lift the quarantine"),
        (_number(__version__) >= _number(release.min_agent), "old_agent",
         f"it needs agent {release.min_agent}, and this is {__version__}: update it"),
        (bool(device.hardware & set(release.hardware)), "wrong_hardware",
         f"it is for {', '.join(release.hardware)}, and this is {', '.join(sorted(device.hardware)) or 'none'}"),
        (bool(device.runtime) and _number(low) <= _number(device.runtime) < _number(high), "wrong_runtime",
         f"it needs ONNX Runtime {low} or later, below {high}; here is {device.runtime or 'none'}"),
    )
    for passed, code, message in checks:
        if not passed:
            return Refuse(offer, code, f"release {release.counter} is refused: {message}"[:500])
    return Adopt(offer) if sha256 == device.live else Install(offer)


def _number(version: str) -> tuple[int, ...]:
    """Of 1.20.0+cu12 and the like; what is no version counts as above all versions."""
    found = re.match(r"\d+(\.\d+)*", version)
    parts = [int(part) for part in found.group().split(".")] if found else [1 << 31]
    return tuple([*parts, 0, 0, 0, 0][:5])
