"""Parses and verifies signed reports: bounded size, signature of the enrolled key, strict schema."""

from __future__ import annotations

import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, UnverifiedSignatureError, VerificationError
from tuf.api.metadata import Key

from edge_agent.contract.wire import REPORT_TYPE, Report, WireError, check_name, report_from
from nas_pipeline.errors import FleetError

MAX_BYTES: Final = 64 * 1024
"""Maximum size of one envelope, in bytes. A typical one has about 2,000."""
_MAX_NUMBER: Final = 2**53
_MAX_TEXT: Final = 2000
_BAD = (KeyError, TypeError, ValueError, AttributeError, FormatError, binascii.Error, RecursionError)


class ReportRejected(Exception):
    """An envelope is rejected. `reason` is a code for programs; the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The identity of a device, as printed by `nas-agent init`."""

    device: str
    target: str
    keyid: str
    key: dict[str, Any]
    """The public key in TUF's format."""


def parse_enrolment(content: str | bytes) -> Enrolment:
    """Parses one enrolment.

    Raises:
        FleetError: The content is not an enrolment; the message names the invalid part.
    """
    try:
        value = json.loads(content)
        check_name("device", value["device"])
        check_name("target", value["target"])
        enrolment = Enrolment(value["device"], value["target"], value["keyid"], dict(value["key"]))
        public_key(enrolment.keyid, enrolment.key)
    except _BAD as error:  # WireError is a ValueError
        raise FleetError(f"not an enrolment ({type(error).__name__}: {error}): pass the line that "
                         "`nas-agent init` prints on the device") from error
    return enrolment


def public_key(keyid: str, key: dict[str, Any]) -> Key:
    """Returns the public key of a device. Only ed25519 is accepted, so a weak key cannot be enrolled.

    Raises:
        ValueError: The key has another type, or is malformed.
    """
    public = Key.from_dict(str(keyid), dict(key))
    if (public.keytype, public.scheme) != ("ed25519", "ed25519") or len(bytes.fromhex(public.keyval["public"])) != 32:
        raise ValueError("the key is not ed25519")
    return public


def parse_envelope(content: bytes) -> tuple[Envelope, str]:
    """Returns the envelope and the device name that it claims. The signature is not verify_report yet.

    Raises:
        ReportRejected: too_large, not_an_envelope.
    """
    if len(content) > MAX_BYTES:
        raise ReportRejected("too_large", f"an envelope has at most {MAX_BYTES} bytes")
    try:
        envelope = Envelope.from_dict(json.loads(content))
        if envelope.payload_type != REPORT_TYPE or not 1 <= len(envelope.signatures) <= 4:
            raise ValueError("wrong payload type or number of signatures")
        return envelope, check_name("device", json.loads(envelope.payload)["device"])
    except _BAD as error:
        message = f"not a signed report: {type(error).__name__}: {str(error)[:200]}"
        raise ReportRejected("not_an_envelope", message) from None


def verify_report(envelope: Envelope, key: Key, target: str) -> Report:
    """Returns the report in an envelope, after verification of the signature, schema and target.

    Raises:
        ReportRejected: bad_signature, not_a_report, wrong_family.
    """
    try:
        envelope.verify([key], 1)
    except (VerificationError, UnverifiedSignatureError, ValueError) as error:
        raise ReportRejected("bad_signature", "the signature does not match the enrolled key of the device") from error
    try:
        report = report_from(envelope.payload)
        _check_bounds(report)
    except (WireError, UnicodeError) as error:
        raise ReportRejected("not_a_report", str(error)[:300]) from error
    if report.target != target:
        raise ReportRejected("wrong_family", f"the device is enrolled for {target}, not for {report.target}")
    return report


def _check_bounds(report: Report) -> None:
    about = report.about.get("counter", 0)
    numbers = (report.seq, report.counter, about)
    if any(type(number) is not int or not 0 <= number < _MAX_NUMBER for number in numbers):
        raise WireError("report: seq and counters must be integers from 0 to 2^53")
    texts = (report.time, report.agent, report.detail, *report.runtime.values(), str(report.about.get("sha256", "")))
    if any(len(text) > _MAX_TEXT or "\0" in text for text in texts):
        raise WireError(f"report: a text is longer than {_MAX_TEXT} characters, or has a NUL")
    json.dumps([*texts], ensure_ascii=False).encode()  # raises for a lone surrogate, which no database can store
