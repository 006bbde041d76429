"""Wire formats that fleet and device share: signed releases, waves and reports. Standard library only.

The fleet writes releases and reads reports; the agent reads releases and writes reports. Reading is strict: a signature
proves who wrote something, not that it is valid.
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
"""A share of a fleet is a number of hundredths of a percent."""
REPORT_TYPE: Final = "application/vnd.nas.device-report+json"
"""Payload type of the signed envelope (DSSE) of a report."""
RELEASE_FILE: Final = "release.json"
_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_HEX = re.compile(r"[0-9a-f]{64}")

EVENTS: Final = ("installed", "current", "refused", "failed", "quarantined", "reverted")
"""installed: a release is in use. current: nothing changed. refused: a release was refused before a try. failed: a try
failed. quarantined: the last try failed, or a check failed for good. reverted: the model in use failed and the previous
one is in use again."""

CODES: Final = (
    "", "unreachable", "bad_signature", "expired", "replayed", "mixed", "tampered", "endless_data", "slow_data",
    "bad_metadata", "clock_behind", "lower_counter", "wrong_hardware", "wrong_runtime", "wrong_model", "old_agent",
    "bad_release", "unsafe_model", "wrong_answers", "too_slow", "too_much_memory", "crashed", "disk_full",
    "quarantined", "interrupted",
)
"""Reason of an event; empty: success. A code is named after the attack that causes it, if there is one."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Admits the devices whose `bucket` is below the share of the current wave."""

    salt: str
    """Hex; each release has its own salt, so that the first devices differ between releases."""
    shares: tuple[int, ...]
    """Increasing, in 1/10,000 of the fleet; the last one is 10,000."""
    index: int

    @property
    def share(self) -> int:
        """Share of the fleet that is admitted now, in 1/10,000."""
        return self.shares[self.index]

    def admits(self, device: str) -> bool:
        """Returns whether `device` is admitted. It depends on signed data and on the name of the device only."""
        return bucket(self.salt, device) < self.share


def bucket(salt: str, device: str) -> int:
    """Returns the position of a device in the order of a roll-out: 0 to 9,999."""
    return int.from_bytes(hashlib.sha256(bytes.fromhex(salt) + device.encode()).digest(), "big") % WHOLE


@dataclass(frozen=True, slots=True)
class Release:
    """`custom` of a TUF target `TARGET/MODEL/SHA256.onnx`: what a device needs to decide before the download."""

    schema: int
    model: str
    """Name of the registered model."""
    version: str
    """Version of the registered model."""
    bundle: str
    """Digest of the bundle."""
    counter: int
    """Increases with every change of the target's release; a device never installs a lower one."""
    hardware: tuple[str, ...]
    """Hardware tags; a device needs one of them."""
    ort: tuple[str, str]
    """Versions of ONNX Runtime: the first allowed, and the first that is not allowed any more."""
    opset: int
    min_agent: str
    memory_mb: float
    """Largest increase of the resident memory of a process that opens and runs the model."""
    latency_ms: float
    """Largest p95 for one image."""
    threads: int
    golden: str
    """sha256 of the canonical JSON of its golden vectors in release.json."""
    wave: Wave
    lift_quarantine: bool = False
    """Whether a device that quarantined this digest may try it again."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Golden vectors: images, and the logits of the file on the machine that exported it.

    `pixels`: uint8 [N, C, H, W] in base64; `logits`: little-endian float32 [N, classes] in base64.
    """

    images: int
    pixels: str
    logits: str
    tolerance: float
    """Largest allowed difference of a logit."""
    agreement: float
    """Smallest allowed share of images with the same top-1 class."""

    @property
    def sha256(self) -> str:
        """Digest of the canonical JSON."""
        return hashlib.sha256(canonical(asdict(self))).hexdigest()

    def bytes_of(self, name: str) -> bytes:
        """Decodes `pixels` or `logits`.

        Raises:
            WireError: It is not base64.
        """
        try:
            return base64.b64decode(getattr(self, name), validate=True)
        except binascii.Error as error:
            raise WireError(f"golden.{name} is not base64: {error}") from error


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Entry of release.json for one release: input format, classes and golden vectors."""

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
    """For people: accuracy, latency and their evidence."""

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return self.onnx.rsplit("/", 1)[-1].removesuffix(".onnx")


@dataclass(frozen=True, slots=True)
class Report:
    """Payload of the signed report of a device."""

    schema: int
    device: str
    target: str
    model: str
    seq: int
    """Increases with every report of a device, so that a replay is detected."""
    time: str
    """ISO 8601, UTC, by the clock of the device."""
    agent: str
    runtime: dict[str, str]
    """Versions of ONNX Runtime and Python, and the machine type."""
    counter: int
    """Highest counter of an installed release; 0: none."""
    sha256: str
    """Digest of the file in use; empty: none."""
    event: str
    code: str
    detail: str
    about: dict[str, Any]
    """counter and sha256 of the release that the event concerns; empty: none."""
    probation: dict[str, float]
    """p95_ms, memory_mb, max_error, agreement, runs and tries, as far as known."""
    quarantine: tuple[str, ...]
    drift: dict[str, Any]
    """Drift sums since the last report; empty below `drift.MIN_IMAGES` images."""


def check_name(kind: str, name: str) -> str:
    """Returns a target, model or device name that is safe as a path segment, a role and an alias.

    Raises:
        WireError: The name is not safe.
    """
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise WireError(f"{kind} {name!r:.120}: use a-z, 0-9, _ and -, a letter or digit first and last")
    return name


def check_sha256(digest: str) -> str:
    """Returns `digest`; raises a WireError if it is not a sha256 in hex."""
    if not _HEX.fullmatch(digest):
        raise WireError(f"{digest!r:.80} is not a sha256")
    return digest


def onnx_path(target: str, model: str, sha256: str) -> str:
    """Returns the TUF target path of a model file."""
    return f"{check_name('target', target)}/{check_name('model', model)}/{check_sha256(sha256)}.onnx"


def release_path(target: str, model: str) -> str:
    """Returns the TUF target path of the list of releases of a model."""
    return f"{check_name('target', target)}/{check_name('model', model)}/{RELEASE_FILE}"


def custom_of(release: Release) -> dict[str, Any]:
    """Returns `custom` for TUF, with floats as text: the canonical JSON of TUF has no fractions."""
    return {name: repr(value) if type(value) is float else value for name, value in asdict(release).items()}


def release_from(value: Any) -> Release:
    """Reads `custom`.

    Raises:
        WireError: A field is missing, of a wrong type or out of range.
    """
    if isinstance(value, Mapping):
        value = {**value, **{name: fraction(value[name]) for name in ("memory_mb", "latency_ms") if name in value}}
    release = record_from(Release, value, "custom")
    wave = release.wave
    increasing = list(wave.shares) == sorted(set(wave.shares))
    if not (increasing and wave.shares and wave.shares[0] > 0 and wave.shares[-1] == WHOLE):
        raise WireError(f"custom.wave.shares {list(wave.shares)!r:.80} do not increase to {WHOLE}")
    if not 0 <= wave.index < len(wave.shares):
        raise WireError(f"custom.wave.index {wave.index} is not one of {len(wave.shares)} waves")
    if not re.fullmatch(r"([0-9a-f]{2}){8,64}", wave.salt):
        raise WireError("custom.wave.salt is not 8 to 64 bytes in hex")
    if release.counter < 1 or release.threads < 1 or not release.latency_ms > 0 or not release.memory_mb > 0:
        raise WireError("custom: counter, threads, latency_ms and memory_mb must be above 0")
    check_name("custom.model", release.model)
    return release


def releases_to(model: str, target: str, issued: str, cards: tuple[ModelCard, ...]) -> bytes:
    """Returns the content of release.json."""
    return canonical({
        "schema": SCHEMA, "model": model, "target": target, "issued": issued,
        "releases": [asdict(card) for card in cards],
    })


def cards_from(content: bytes, target: str, model: str) -> tuple[ModelCard, ...]:
    """Reads release.json.

    Raises:
        WireError: It is not JSON, is for another model or target, or has an invalid field.
    """
    value = plain_from(content, RELEASE_FILE)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise WireError(f"{RELEASE_FILE} does not have schema {SCHEMA}: a newer agent may be needed")
    if (value.get("target"), value.get("model")) != (target, model):
        raise WireError(f"{RELEASE_FILE} is for {value.get('target')!r:.60}/{value.get('model')!r:.60}")
    rows = value.get("releases")
    if not isinstance(rows, list) or len(rows) > 16:
        raise WireError(f"{RELEASE_FILE}: releases is not a list of at most 16")
    cards = tuple(card_from(row, f"releases[{index}]") for index, row in enumerate(rows))
    for card in cards:
        if card.onnx != onnx_path(target, model, card.sha256):
            raise WireError(f"{RELEASE_FILE}: {card.onnx!r:.120} is not a file of {target}/{model}")
    return cards


def card_from(value: Any, where: str = "card") -> ModelCard:
    """Reads an entry of release.json.

    Raises:
        WireError: A field is missing, of a wrong type or out of range.
    """
    card = record_from(ModelCard, value, where)
    if len(card.mean) != card.channels or len(card.std) != card.channels or not all(x > 0 for x in card.std):
        raise WireError(f"{where}: mean and std do not fit {card.channels} channels")
    if min(card.channels, card.height, card.width, card.golden.images) < 1 or not card.class_names:
        raise WireError(f"{where}: sizes must be above 0")
    return card


def report_from(payload: bytes) -> Report:
    """Reads the payload of a report.

    Raises:
        WireError: It is not a valid report.
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
