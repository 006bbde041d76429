"""What fleet and device say to each other: releases as signed data, waves, reports. Standard library only.

The one definition for both sides: the fleet writes releases and reads reports, the agent reads releases and writes
reports. Reading is strict, since a signature says who wrote something and not that it makes sense.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from edge_agent.contract.plain import WireError as WireError
from edge_agent.contract.plain import canonical as canonical
from edge_agent.contract.plain import fraction, plain_from, record_from

SCHEMA: Final = 1
WHOLE: Final = 10_000
"""Shares of a fleet are counted in hundredths of a percent."""
REPORT_TYPE: Final = "application/vnd.nas.device-report+json"
"""Payload type of the signed envelope (DSSE) of a report."""
RELEASE_FILE: Final = "release.json"
_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_HEX = re.compile(r"[0-9a-f]{64}")

EVENTS: Final = ("installed", "current", "refused", "failed", "quarantined", "reverted")
"""installed: a release came into use. current: nothing new. refused: what was offered may not be used, and nothing was
tried. failed: a try did not succeed. quarantined: the last try did not, or a check said no for good. reverted: a model
that was in use went wrong, and the one before is in use again."""

CODES: Final = (
    "", "unreachable", "bad_signature", "expired", "replayed", "mixed", "tampered", "endless_data", "slow_data",
    "bad_metadata", "clock_behind", "lower_counter", "wrong_hardware", "wrong_runtime", "wrong_model", "old_agent",
    "bad_release", "unsafe_model", "wrong_answers", "too_slow", "too_much_memory", "crashed", "disk_full",
    "quarantined", "interrupted",
)
"""What stood in the way; named after the attack where it would be one."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Who may have a release: devices whose `bucket` is below the share of the current wave."""

    salt: str
    """Hex; another salt for each release, so that it is not always the same devices that go first."""
    shares: tuple[int, ...]
    """Growing, in 1/10,000 of the fleet; the last one is 10,000."""
    index: int

    @property
    def share(self) -> int:
        """Of the fleet, that may have it now."""
        return self.shares[self.index]

    def admits(self, device: str) -> bool:
        """Whether `device` may have it now. No mirror can change the answer: what goes in is signed, or its own."""
        return bucket(self.salt, device) < self.share


def bucket(salt: str, device: str) -> int:
    """Where a device stands in the order of a roll-out: 0 ... 9,999."""
    return int.from_bytes(hashlib.sha256(bytes.fromhex(salt) + device.encode()).digest(), "big") % WHOLE


@dataclass(frozen=True, slots=True)
class Release:
    """`custom` of a target `TARGET/MODEL/SHA256.onnx`: all that a device needs to decide before it downloads."""

    schema: int
    model: str
    """The registered model."""
    version: str
    """Of the registered model."""
    bundle: str
    """Digest of the bundle."""
    counter: int
    """Grows with every change of what should run; a device never goes below the highest that it has installed."""
    hardware: tuple[str, ...]
    """One of them has to be among the device's."""
    ort: tuple[str, str]
    """Version of ONNX Runtime: at least, below."""
    opset: int
    min_agent: str
    memory_mb: float
    """What loading and running it may add to the resident memory of a process."""
    latency_ms: float
    """Bound on the p95 of one image."""
    threads: int
    golden: str
    """sha256 of the canonical JSON of its golden vectors in release.json."""
    wave: Wave
    lift_quarantine: bool = False
    """A device that quarantined this digest may try it again."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Images and what the file answers to them on the machine that made it.

    `pixels`: uint8 [N, C, H, W] in base64; `logits`: little-endian float32 [N, classes] in base64.
    """

    images: int
    pixels: str
    logits: str
    tolerance: float
    """Largest allowed difference of a logit."""
    agreement: float
    """Smallest allowed share of images with the same top-1 answer."""

    @property
    def sha256(self) -> str:
        """Of its canonical JSON."""
        return hashlib.sha256(canonical(asdict(self))).hexdigest()

    def bytes_of(self, name: str) -> bytes:
        """The decoded `pixels` or `logits`.

        Raises:
            WireError: It is not base64.
        """
        try:
            return base64.b64decode(getattr(self, name), validate=True)
        except binascii.Error as error:
            raise WireError(f"golden.{name} is not base64: {error}") from error


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What release.json says of one release: how to feed the file, and how to tell that it works."""

    counter: int
    onnx: str
    """Target path: TARGET/MODEL/SHA256.onnx."""
    channels: int
    height: int
    width: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    """Per channel; the network's input is (pixel / 255 - mean) / std."""
    std: tuple[float, ...]
    golden: Golden
    evidence: dict[str, Any]
    """For people: accuracy, latency and how they are known."""

    @property
    def sha256(self) -> str:
        """Of the file."""
        return self.onnx.rsplit("/", 1)[-1].removesuffix(".onnx")


@dataclass(frozen=True, slots=True)
class Report:
    """Payload of a device's signed report."""

    schema: int
    device: str
    target: str
    model: str
    seq: int
    """Grows with every report of a device: a replayed one is noticed."""
    time: str
    """ISO 8601, UTC, by the device's clock."""
    agent: str
    runtime: dict[str, str]
    """ONNX Runtime, Python, machine."""
    counter: int
    """Highest that the device has installed; 0: none."""
    sha256: str
    """Of the file in use; empty: none."""
    event: str
    code: str
    detail: str
    about: dict[str, Any]
    """counter and sha256 of the release that the event is about; empty where it is about none."""
    probation: dict[str, float]
    """p95_ms, memory_mb, max_error, agreement, runs, tries: as far as known."""
    quarantine: tuple[str, ...]
    drift: dict[str, Any]
    """Sums of what was served since the last report; empty where nothing, or too little to hide a single image."""


def check_name(kind: str, name: str) -> str:
    """A target, model or device name that is safe as a path segment, a role and an alias.

    Raises:
        WireError: It is not.
    """
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise WireError(f"{kind} {name!r:.120}: use a-z, 0-9, _ and -, a letter or digit first and last")
    return name


def check_sha256(digest: str) -> str:
    """A hex sha256, or else a WireError."""
    if not _HEX.fullmatch(digest):
        raise WireError(f"{digest!r:.80} is not a sha256")
    return digest


def onnx_path(target: str, model: str, sha256: str) -> str:
    """Target path of a model file."""
    return f"{check_name('target', target)}/{check_name('model', model)}/{check_sha256(sha256)}.onnx"


def release_path(target: str, model: str) -> str:
    """Target path of the list of a model's releases."""
    return f"{check_name('target', target)}/{check_name('model', model)}/{RELEASE_FILE}"


def custom_of(release: Release) -> dict[str, Any]:
    """`custom` as TUF can sign it: its canonical JSON knows no fractions, so they are text."""
    return {name: repr(value) if type(value) is float else value for name, value in asdict(release).items()}


def release_from(value: Any) -> Release:
    """Read `custom`.

    Raises:
        WireError: A field is missing, of a wrong type or makes no sense.
    """
    if isinstance(value, Mapping):
        value = {**value, **{name: fraction(value[name]) for name in ("memory_mb", "latency_ms") if name in value}}
    release = record_from(Release, value, "custom")
    wave = release.wave
    growing = list(wave.shares) == sorted(set(wave.shares))
    if not (growing and wave.shares and wave.shares[0] > 0 and wave.shares[-1] == WHOLE):
        raise WireError(f"custom.wave.shares {list(wave.shares)!r:.80} do not grow to {WHOLE}")
    if not 0 <= wave.index < len(wave.shares):
        raise WireError(f"custom.wave.index {wave.index} is none of {len(wave.shares)} waves")
    if not re.fullmatch(r"([0-9a-f]{2}){8,64}", wave.salt):
        raise WireError("custom.wave.salt is not 8 to 64 bytes in hex")
    if release.counter < 1 or release.threads < 1 or not release.latency_ms > 0 or not release.memory_mb > 0:
        raise WireError("custom: counter, threads, latency_ms and memory_mb have to be above 0")
    check_name("custom.model", release.model)
    return release


def releases_to(model: str, target: str, issued: str, cards: tuple[ModelCard, ...]) -> bytes:
    """The bytes of release.json."""
    return canonical({
        "schema": SCHEMA, "model": model, "target": target, "issued": issued,
        "releases": [asdict(card) for card in cards],
    })


def cards_from(content: bytes, target: str, model: str) -> tuple[ModelCard, ...]:
    """Read release.json.

    Raises:
        WireError: It is not JSON, of another model or target, or a field is wrong.
    """
    value = plain_from(content, RELEASE_FILE)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise WireError(f"{RELEASE_FILE} is not of schema {SCHEMA}: a newer agent may be needed")
    if (value.get("target"), value.get("model")) != (target, model):
        raise WireError(f"{RELEASE_FILE} is about {value.get('target')!r:.60}/{value.get('model')!r:.60}")
    rows = value.get("releases")
    if not isinstance(rows, list) or len(rows) > 16:
        raise WireError(f"{RELEASE_FILE}: releases is not a list of at most 16")
    cards = tuple(sheet_from(row, f"releases[{index}]") for index, row in enumerate(rows))
    for card in cards:
        if card.onnx != onnx_path(target, model, card.sha256):
            raise WireError(f"{RELEASE_FILE}: {card.onnx!r:.120} is not a file of {target}/{model}")
    return cards


def sheet_from(value: Any, where: str = "card") -> ModelCard:
    """Read what is said of one release.

    Raises:
        WireError: A field is missing, of a wrong type or makes no sense.
    """
    card = record_from(ModelCard, value, where)
    if len(card.mean) != card.channels or len(card.std) != card.channels or not all(x > 0 for x in card.std):
        raise WireError(f"{where}: mean and std do not fit {card.channels} channels")
    if min(card.channels, card.height, card.width, card.golden.images) < 1 or not card.class_names:
        raise WireError(f"{where}: sizes have to be above 0")
    return card


def report_from(payload: bytes) -> Report:
    """Read the payload of a report.

    Raises:
        WireError: It is not a report.
    """
    report = record_from(Report, plain_from(payload, "report"), "report")
    if report.schema != SCHEMA or report.event not in EVENTS or report.code not in CODES:
        raise WireError(f"report: schema, event or code is unknown ({report.schema}, {report.event!r:.40}, "
                        f"{report.code!r:.40})")
    for kind in ("device", "target", "model"):
        check_name(f"report.{kind}", getattr(report, kind))
    for digest in (*report.quarantine, *filter(None, [report.sha256])):
        check_sha256(digest)
    return report
