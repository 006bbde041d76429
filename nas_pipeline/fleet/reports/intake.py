"""The database of enrolled devices and their signed reports. Each report is accepted once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from securesystemslib.dsse import Envelope
from sqlalchemy.exc import IntegrityError

from edge_agent.contract.wire import Report, report_from
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.reports.signed import Enrolment, ReportRejected, parse_envelope, public_key, verify_report
from nas_pipeline.fleet.reports.tables import devices, open_database, reports

logger = logging.getLogger(__name__)

_AHEAD, _BEHIND = timedelta(days=1), timedelta(days=365)
"""Tolerated deviations of a device's clock. A device may be offline, so its reports may arrive late."""
_FLAGS = 8
"""Maximum number of flags per device; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class EnrolledDevice:
    """An enrolled device."""

    device: str
    target: str
    enrolled: datetime
    retired: bool
    seq: int
    counter: int
    """The highest counter that it ever reported."""
    seen: datetime | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """A report, and the time at which the server received it."""

    report: Report
    received: datetime


@dataclass(frozen=True, slots=True)
class IntakeAnswer:
    """The result of processing one envelope."""

    accepted: bool
    reason: str
    """Accepted: `taken`, or `known` (a duplicate). Rejected: too_large, not_an_envelope, unknown_device,
    retired_device, bad_signature, not_a_report, wrong_family, replayed."""
    detail: str = ""
    device: str = ""
    """Set only if the signature is valid."""
    seq: int = 0


def _now() -> datetime:
    return datetime.now(UTC)


class Intake:
    """The database of reports."""

    def __init__(self, where: str | Path, *, clock: Callable[[], datetime] = _now) -> None:
        """Opens the database at `where`: an SQLite file, or a URL."""
        self._engine, self._clock = open_database(where), clock

    def close(self) -> None:
        """Closes the connections to the database."""
        self._engine.dispose()

    def enrol(self, enrolment: Enrolment) -> bool:
        """Stores the public key of a device; returns whether anything changed.

        A new key of an enrolled device replaces the old one: reports signed with the old key are rejected.

        Raises:
            FleetError: The device is enrolled for another target.
        """
        key = json.dumps(enrolment.key, sort_keys=True)
        with self._engine.begin() as connection:
            row = connection.execute(
                sa.select(devices).where(devices.c.device == enrolment.device).with_for_update()
            ).one_or_none()
            if row is not None and row.target != enrolment.target:
                raise FleetError(f"{enrolment.device} is enrolled for {row.target}, not {enrolment.target}: retire it, "
                                 "and give the other device another name")
            if row is not None and (row.keyid, row.key, row.retired) == (enrolment.keyid, key, False):
                return False
            values = {
                "device": enrolment.device, "target": enrolment.target, "keyid": enrolment.keyid, "key": key,
                "enrolled": _naive(self._clock()), "enrolment": 1 if row is None else row.enrolment + 1,
                "retired": False, "seq": 0, "last_sha256": "", "counter": 0 if row is None else row.counter,
                "seen": None, "flags": "" if row is None else row.flags,
            }
            if row is None:
                connection.execute(sa.insert(devices).values(values))
            else:
                connection.execute(sa.update(devices).where(devices.c.device == enrolment.device).values(values))
        return True

    def retire(self, device: str) -> None:
        """Rejects all further reports of a device, and counts it in no wave.

        Raises:
            FleetError: The device is not enrolled.
        """
        with self._engine.begin() as connection:
            done = connection.execute(sa.update(devices).where(devices.c.device == device).values(retired=True))
        if not done.rowcount:
            raise FleetError(f"no device {device!r:.120} is enrolled; `nas fleet devices` lists them")

    def accept(self, content: bytes) -> IntakeAnswer:
        """Verifies and stores one envelope. A duplicate of the last envelope is accepted and changes nothing."""
        try:
            envelope, name = parse_envelope(content)
            with self._engine.begin() as connection:
                return self._store(connection, envelope, name, hashlib.sha256(content).hexdigest())
        except ReportRejected as error:
            logger.info("report rejected: %s", error.reason)
            return IntakeAnswer(False, error.reason, str(error))
        except IntegrityError:  # on Postgres: another receiver stored this number concurrently
            return IntakeAnswer(False, "replayed", "a report with this number is stored already")

    def devices(self, target: str | None = None, *, retired: bool = False) -> list[EnrolledDevice]:
        """Returns the enrolled devices of a target, or of all targets, sorted by name."""
        query = sa.select(devices).order_by(devices.c.device)
        if target is not None:
            query = query.where(devices.c.target == target)
        if not retired:
            query = query.where(devices.c.retired.is_(False))
        with self._engine.begin() as connection:
            return [
                EnrolledDevice(row.device, row.target, _aware(row.enrolled), row.retired, row.seq, row.counter,
                       _aware(row.seen) if row.seen else None, tuple(filter(None, row.flags.split("\n"))))
                for row in connection.execute(query)
            ]

    def reports(
        self, target: str, model: str | None = None, *, since: datetime | None = None, until: datetime | None = None,
        ever: bool = False,
    ) -> list[ReceivedReport]:
        """Reports in the order in which they came in: `since` <= received < `until`.

        With `ever`, also those of retired devices, and those signed with an earlier key.
        """
        query = sa.select(reports.c.payload, reports.c.received).where(reports.c.target == target).order_by(
            reports.c.received, reports.c.device, reports.c.seq
        )
        if not ever:
            query = query.join(devices, sa.and_(
                devices.c.device == reports.c.device, devices.c.enrolment == reports.c.enrolment,
                devices.c.retired.is_(False),
            ))
        if model is not None:
            query = query.where(reports.c.model == model)
        if since is not None:
            query = query.where(reports.c.received >= _naive(since))
        if until is not None:
            query = query.where(reports.c.received < _naive(until))
        with self._engine.begin() as connection:
            return [ReceivedReport(report_from(row.payload.encode()), _aware(row.received))
                    for row in connection.execute(query)]

    def delete_before(self, before: datetime) -> int:
        """Deletes the reports received before a time; returns their number. The enrolments stay."""
        with self._engine.begin() as connection:
            return connection.execute(sa.delete(reports).where(reports.c.received < _naive(before))).rowcount

    def _store(self, connection: sa.Connection, envelope: Envelope, name: str, sha256: str) -> IntakeAnswer:
        row = connection.execute(sa.select(devices).where(devices.c.device == name).with_for_update()).one_or_none()
        if row is None:
            raise ReportRejected("unknown_device", "the device is not enrolled")
        if row.retired:
            raise ReportRejected("retired_device", "the device is retired")
        report = verify_report(envelope, public_key(row.keyid, json.loads(row.key)), row.target)
        if sha256 == row.last_sha256:
            return IntakeAnswer(True, "known", "", report.device, report.seq)
        if report.seq <= row.seq:
            raise ReportRejected("replayed", f"number {report.seq} is not above {row.seq}, the last one received")
        now = self._clock()
        flags = [*dict.fromkeys([*filter(None, row.flags.split("\n")), *_flags(report, row.counter, row.seq, now)])]
        connection.execute(sa.insert(reports).values(
            device=name, enrolment=row.enrolment, seq=report.seq, target=report.target, model=report.model,
            received=_naive(now), event=report.event, payload=json.dumps(asdict(report)),
        ))
        connection.execute(sa.update(devices).where(devices.c.device == name).values(
            seq=report.seq, last_sha256=sha256, counter=max(row.counter, report.counter), seen=_naive(now),
            flags="\n".join(flags[-_FLAGS:]),
        ))
        return IntakeAnswer(True, "taken", "", report.device, report.seq)


def _flags(report: Report, counter: int, seq: int, now: datetime) -> list[str]:
    """Returns anomalies for a person to examine. They do not cause a rejection."""
    flags, when = [], now.strftime("%Y-%m-%d")
    if report.counter < counter:
        flags.append(f"{when} counter {report.counter} below {counter}: device wiped or cloned")
    if seq and report.seq > seq + 1000:
        flags.append(f"{when} number {report.seq} after {seq}: reports lost, or device cloned")
    try:
        clock = datetime.fromisoformat(report.time)
        off = clock - now if clock.tzinfo else None
    except (ValueError, OverflowError):
        off = None
    if off is None or off > _AHEAD or -off > _BEHIND:
        flags.append(f"{when} device clock {report.time[:10]!a}")
    return flags


def _naive(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(tzinfo=None)


def _aware(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC)
