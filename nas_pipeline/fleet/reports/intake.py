"""The devices that are known, and what they reported. A report is taken once, whole, and only from whom it says."""

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
from nas_pipeline.fleet.reports.signed import Enrolment, Unfit, claimed_device, public_key, verified
from nas_pipeline.fleet.reports.tables import devices, open_database, reports

logger = logging.getLogger(__name__)

_AHEAD, _BEHIND = timedelta(days=1), timedelta(days=365)
"""A clock further off is noted. Behind, a report may also have waited in a device that was offline."""
_FLAGS = 8
"""Kept per device; the oldest give way."""


@dataclass(frozen=True, slots=True)
class Device:
    """An enrolled device."""

    device: str
    target: str
    enrolled: datetime
    retired: bool
    seq: int
    counter: int
    """The highest that it ever reported."""
    seen: datetime | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """A report, and when it came in by our clock."""

    report: Report
    received: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an envelope."""

    taken: bool
    reason: str
    """taken, known (the same one again); or why not: too_large, not_an_envelope, unknown_device, retired_device,
    bad_signature, not_a_report, wrong_family, replayed."""
    detail: str = ""
    device: str = ""
    """Only where the signature holds."""
    seq: int = 0


def _now() -> datetime:
    return datetime.now(UTC)


class Intake:
    """The database of reports."""

    def __init__(self, where: str | Path, *, clock: Callable[[], datetime] = _now) -> None:
        """Open it: `where` is an SQLite file, or a URL."""
        self._engine, self._clock = open_database(where), clock

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def enrol(self, enrolment: Enrolment) -> bool:
        """Know a device by its key from now on; returns whether anything changed.

        A new key for a known device starts anew: reports signed with the old one are not taken any more.

        Raises:
            FleetError: It is known as one of another target.
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
        """Take nothing from a device any more, and count it in no wave.

        Raises:
            FleetError: There is no such device.
        """
        with self._engine.begin() as connection:
            done = connection.execute(sa.update(devices).where(devices.c.device == device).values(retired=True))
        if not done.rowcount:
            raise FleetError(f"no device {device!r:.120} is enrolled; `nas fleet devices` lists them")

    def take(self, content: bytes) -> Answer:
        """Take one envelope, or say why not. The same one again is known, and changes nothing."""
        try:
            envelope, name = claimed_device(content)
            with self._engine.begin() as connection:
                return self._taken(connection, envelope, name, hashlib.sha256(content).hexdigest())
        except Unfit as error:
            logger.info("a report is not taken: %s", error.reason)
            return Answer(False, error.reason, str(error))
        except IntegrityError:  # on Postgres: another receiver took this number a moment ago
            return Answer(False, "replayed", "a report with this number is there already")

    def devices(self, target: str | None = None, *, retired: bool = False) -> list[Device]:
        """Enrolled devices, by name; of a target, or all."""
        query = sa.select(devices).order_by(devices.c.device)
        if target is not None:
            query = query.where(devices.c.target == target)
        if not retired:
            query = query.where(devices.c.retired.is_(False))
        with self._engine.begin() as connection:
            return [
                Device(row.device, row.target, _aware(row.enrolled), row.retired, row.seq, row.counter,
                       _aware(row.seen) if row.seen else None, tuple(filter(None, row.flags.split("\n"))))
                for row in connection.execute(query)
            ]

    def heard(
        self, target: str, model: str | None = None, *, since: datetime | None = None, until: datetime | None = None,
        ever: bool = False,
    ) -> list[Heard]:
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
            return [Heard(report_from(row.payload.encode()), _aware(row.received)) for row in connection.execute(query)]

    def forget(self, before: datetime) -> int:
        """Delete reports that came in before a moment; returns how many. What the devices are known by stays."""
        with self._engine.begin() as connection:
            return connection.execute(sa.delete(reports).where(reports.c.received < _naive(before))).rowcount

    def _taken(self, connection: sa.Connection, envelope: Envelope, name: str, sha256: str) -> Answer:
        row = connection.execute(sa.select(devices).where(devices.c.device == name).with_for_update()).one_or_none()
        if row is None:
            raise Unfit("unknown_device", "no such device is enrolled")
        if row.retired:
            raise Unfit("retired_device", "this device was retired")
        report = verified(envelope, public_key(row.keyid, json.loads(row.key)), row.target)
        if sha256 == row.last_sha256:
            return Answer(True, "known", "", report.device, report.seq)
        if report.seq <= row.seq:
            raise Unfit("replayed", f"number {report.seq} is not above {row.seq}, which came in before")
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
        return Answer(True, "taken", "", report.device, report.seq)


def _flags(report: Report, counter: int, seq: int, now: datetime) -> list[str]:
    """What a person should look at; nothing is refused for it."""
    found, when = [], now.strftime("%Y-%m-%d")
    if report.counter < counter:
        found.append(f"{when} counter {report.counter} below {counter}: wiped, or cloned")
    if seq and report.seq > seq + 1000:
        found.append(f"{when} number {report.seq} after {seq}: reports were lost, or cloned")
    try:
        clock = datetime.fromisoformat(report.time)
        off = clock - now if clock.tzinfo else None
    except (ValueError, OverflowError):
        off = None
    if off is None or off > _AHEAD or -off > _BEHIND:
        found.append(f"{when} its clock says {report.time[:10]!a}")
    return found


def _naive(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(tzinfo=None)


def _aware(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC)
