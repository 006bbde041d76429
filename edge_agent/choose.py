"""Decides what to do with the listed releases: a pure function of the releases and of the state of the device."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_agent import __version__
from edge_agent.contract.wire import ModelCard, Release


@dataclass(frozen=True, slots=True)
class Offer:
    """A listed release whose signatures were verified."""

    release: Release
    card: ModelCard
    length: int
    """Size of its file, in bytes."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """The properties of a device that decide which release it can install."""

    name: str
    model: str
    hardware: frozenset[str]
    runtime: str
    """Version of ONNX Runtime; empty: not installed."""
    counter: int
    """Highest counter of an installed release."""
    live: str
    """Digest of the file in use; empty: none."""
    quarantine: Mapping[str, int]
    """Digest -> counter of its last try."""


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """The right release is in use, or no release is offered to the device."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """The file in use gets a new counter."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Install:
    """A new file has to be installed."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Refuse:
    """The release for the device is refused; `code` is one of `wire.CODES`."""

    offer: Offer
    code: str
    message: str


def choose(offers: Sequence[Offer], device: DeviceState) -> NothingToDo | Adopt | Install | Refuse:
    """Decides by the release with the highest counter among those whose wave admits the device."""
    admitted = [offer for offer in offers if offer.release.wave.admits(device.name)]
    offer = max(admitted, key=lambda offer: offer.release.counter, default=None)
    if offer is None or (offer.release.counter, offer.card.sha256) == (device.counter, device.live):
        return NothingToDo()
    release, sha256 = offer.release, offer.card.sha256
    low, high = release.ort
    tried = device.quarantine.get(sha256)
    checks = (
        (release.model == device.model, "wrong_model", f"it is for model {release.model}, not {device.model}"),
        (release.counter == offer.card.counter and release.golden == offer.card.golden.sha256, "bad_release",
         "release.json and the signed release do not match"),
        (release.counter >= device.counter, "lower_counter", f"release {device.counter} was installed before"),
        (tried is None or (release.lift_quarantine and release.counter > tried), "quarantined",
         f"{sha256[:12]} failed on this device, last as release {tried}: publish another file or lift the quarantine"),
        (_number(__version__) >= _number(release.min_agent), "old_agent",
         f"it needs agent {release.min_agent}, this is {__version__}: update the agent"),
        (bool(device.hardware & set(release.hardware)), "wrong_hardware",
         f"it is for {', '.join(release.hardware)}, this device is {', '.join(sorted(device.hardware)) or 'none'}"),
        (bool(device.runtime) and _number(low) <= _number(device.runtime) < _number(high), "wrong_runtime",
         f"it needs ONNX Runtime {low} or later, below {high}; installed is {device.runtime or 'none'}"),
    )
    for passed, code, message in checks:
        if not passed:
            return Refuse(offer, code, f"release {release.counter} is refused: {message}"[:500])
    return Adopt(offer) if sha256 == device.live else Install(offer)


def _number(version: str) -> tuple[int, ...]:
    """Returns the numbers of a version such as 1.20.0+cu12; an invalid version compares above all others."""
    match = re.match(r"\d+(\.\d+)*", version)
    parts = [int(part) for part in match.group().split(".")] if match else [1 << 31]
    return tuple([*parts, 0, 0, 0, 0][:5])
