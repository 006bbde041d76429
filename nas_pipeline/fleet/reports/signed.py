"""Reads what devices send: bounded, signed by the enrolled key, strict. Nothing of it is believed before that."""

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
"""Of one envelope. A real one has about two thousand."""
_MAX_NUMBER: Final = 2**53
_MAX_TEXT: Final = 2000
_BAD = (KeyError, TypeError, ValueError, AttributeError, FormatError, binascii.Error, RecursionError)


class Unfit(Exception):
    """An envelope that is not taken. `reason` is one word, for programs; the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who a device is, as `nas-agent init` prints it."""

    device: str
    target: str
    keyid: str
    key: dict[str, Any]
    """The public key as TUF writes it."""


def enrolment_from(content: str | bytes) -> Enrolment:
    """Read one enrolment.

    Raises:
        FleetError: It is not what `nas-agent init` prints; the message says which part.
    """
    try:
        value = json.loads(content)
        check_name("device", value["device"])
        check_name("target", value["target"])
        found = Enrolment(value["device"], value["target"], value["keyid"], dict(value["key"]))
        public_key(found.keyid, found.key)
    except _BAD as error:  # WireError is a ValueError
        raise FleetError(f"this is no enrolment ({type(error).__name__}: {error}): give the line that "
                         "`nas-agent init` prints on the device") from error
    return found


def public_key(keyid: str, key: dict[str, Any]) -> Key:
    """The key of a device; only ed25519, so that no weak one can be enrolled.

    Raises:
        ValueError: It is of another kind, or not whole.
    """
    found = Key.from_dict(str(keyid), dict(key))
    if (found.keytype, found.scheme) != ("ed25519", "ed25519") or len(bytes.fromhex(found.keyval["public"])) != 32:
        raise ValueError("the key is not ed25519")
    return found


def claimed_device(content: bytes) -> tuple[Envelope, str]:
    """The envelope, and whom it says to be from. Nothing of it is verified yet.

    Raises:
        Unfit: too_large, not_an_envelope.
    """
    if len(content) > MAX_BYTES:
        raise Unfit("too_large", f"an envelope has at most {MAX_BYTES} bytes")
    try:
        envelope = Envelope.from_dict(json.loads(content))
        if envelope.payload_type != REPORT_TYPE or not 1 <= len(envelope.signatures) <= 4:
            raise ValueError("another payload type, or not one signature")
        return envelope, check_name("device", json.loads(envelope.payload)["device"])
    except _BAD as error:
        raise Unfit("not_an_envelope", f"no signed report: {type(error).__name__}: {str(error)[:200]}") from None


def verified(envelope: Envelope, key: Key, target: str) -> Report:
    """The report in an envelope that `key` signed.

    Raises:
        Unfit: bad_signature, not_a_report, wrong_family.
    """
    try:
        envelope.verify([key], 1)
    except (VerificationError, UnverifiedSignatureError, ValueError) as error:
        raise Unfit("bad_signature", "the signature is not of the key that was enrolled for this device") from error
    try:
        report = report_from(envelope.payload)
        _see_bounds(report)
    except (WireError, UnicodeError) as error:
        raise Unfit("not_a_report", str(error)[:300]) from error
    if report.target != target:
        raise Unfit("wrong_family", f"the device is enrolled for {target}, and reports of {report.target}")
    return report


def _see_bounds(report: Report) -> None:
    about = report.about.get("counter", 0)
    numbers = (report.seq, report.counter, about)
    if any(type(number) is not int or not 0 <= number < _MAX_NUMBER for number in numbers):
        raise WireError("report: seq and counters are whole numbers from 0 to 2^53")
    texts = (report.time, report.agent, report.detail, *report.runtime.values(), str(report.about.get("sha256", "")))
    if any(len(text) > _MAX_TEXT or "\0" in text for text in texts):
        raise WireError(f"report: a text is longer than {_MAX_TEXT} characters, or has a NUL")
    json.dumps([*texts], ensure_ascii=False).encode()  # a lone surrogate fits in no database
