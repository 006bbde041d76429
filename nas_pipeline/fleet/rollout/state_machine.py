"""Roll-out decisions: a pure function of the signed release list, the device reports, and the clock.

No state is stored. The state is rebuilt for each decision from the signed entries and the reports, so a crash
loses nothing. The order of the reports does not matter: the latest outcome of each device counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from edge_agent.contract.wire import Release, Report
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, newest

_RELEASE_CODES = frozenset({
    "wrong_hardware", "wrong_runtime", "wrong_model", "old_agent", "bad_release", "unsafe_model", "wrong_answers",
    "too_slow", "too_much_memory", "crashed", "quarantined",
})
"""Codes of a refusal that count against the release. Other codes are about the network, a mirror, a clock or a disk."""


@dataclass(frozen=True, slots=True)
class RolloutRules:
    """Conditions under which a wave is widened or stopped."""

    error_share: float = 0.05
    """Bound on failed / (ok + failed), for all devices of the wave and for those that it added; above it: stop."""
    min_reports: int = 3
    """Devices that must report ok or failed before `error_share` applies; all devices, where there are fewer."""
    success_share: float = 0.8
    """Share of the enrolled devices of the wave, silent ones included, that must report ok before it is widened."""
    min_hours: float = 1.0
    """Minimum duration of a wave, in hours."""
    max_failed: int | None = None
    """Upper bound on the number of failed devices, independent of their share; above it: stop."""
    silent_hours: float = 48.0
    """A device without any report for this long is shown as silent. It never counts as ok."""


@dataclass(frozen=True, slots=True)
class WaveMember:
    """An enrolled device, with the fields that a decision uses."""

    device: str
    seen: datetime | None
    """Time at which its last report was received; None: never."""


@dataclass(frozen=True, slots=True)
class DeviceOutcome:
    """The outcome of the release on one device."""

    device: str
    seq: int
    ok: bool
    code: str = ""


@dataclass(frozen=True, slots=True)
class StopRecorded:
    """The journal contains a stop of this release."""

    why: str


@dataclass(frozen=True, slots=True)
class RolloutState:
    """One release in one wave, with the outcomes reported so far."""

    counter: int
    index: int
    waves: int
    began: datetime
    """Time at which this wave was signed."""
    enrolled: int
    """Number of enrolled devices of the target, in the wave or not."""
    members: frozenset[str]
    """Enrolled devices that the wave admits."""
    added: frozenset[str]
    """Members that the previous wave did not admit."""
    seen: Mapping[str, datetime | None]
    outcomes: Mapping[str, DeviceOutcome] = field(default_factory=lambda: MappingProxyType({}))
    """Device -> latest outcome, for the members that reported one."""
    stopped: str = ""

    @property
    def last(self) -> bool:
        """Whether the wave is the whole fleet."""
        return self.index == self.waves - 1


@dataclass(frozen=True, slots=True)
class Tally:
    """Number of devices of a wave by outcome."""

    members: int
    ok: int
    failed: int
    silent: int
    """Devices without an outcome and without any report for `silent_hours`."""

    @property
    def waiting(self) -> int:
        """Devices without an outcome that are not silent."""
        return self.members - self.ok - self.failed - self.silent

    def __str__(self) -> str:
        devices = "1 device" if self.members == 1 else f"{self.members} devices"
        return f"{devices}: {self.ok} ok, {self.failed} failed, {self.waiting} not yet, {self.silent} silent"


@dataclass(frozen=True, slots=True)
class Wait:
    """Decision: change nothing now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Widen:
    """Decision: start the next wave."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Decision: offer the release to no further device, and return the devices that have it to the last good one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Decision: nothing remains to do; every device may have the release, and enough of them report ok."""

    reason: str


RolloutDecision = Wait | Widen | Stop | Finished
RolloutEvent = DeviceOutcome | StopRecorded


def initial_state(
    rows: Sequence[ReleaseEntry], began: datetime, devices: Iterable[WaveMember]
) -> RolloutState | None:
    """Returns the state of the newest release before any report; None if nothing is published."""
    top = newest(rows)
    if top is None:
        return None
    wave, devices = top.release.wave, tuple(devices)
    members = {member.device: member.seen for member in devices if wave.admits(member.device)}
    before = replace(wave, index=wave.index - 1) if wave.index else None
    added = frozenset(name for name in members if before is None or not before.admits(name))
    return RolloutState(
        top.release.counter, wave.index, len(wave.shares), began, len(devices), frozenset(members), added,
        MappingProxyType(members),
    )


def outcome_of(report: Report, release: Release, sha256: str) -> DeviceOutcome | None:
    """Returns the outcome of a release that a report contains; None if the report is not about the release."""
    counter = report.about.get("counter")
    ok: bool | None = None
    if report.event in {"failed", "quarantined", "reverted"} or (
        report.event == "refused" and report.code in _RELEASE_CODES
    ):
        ok = False if counter == release.counter else None
    elif report.event in {"installed", "current"}:
        ok = True if (report.counter, report.sha256) == (release.counter, sha256) else None
    return None if ok is None else DeviceOutcome(report.device, report.seq, ok, report.code)


def apply_event(state: RolloutState, event: RolloutEvent) -> RolloutState:
    """Returns the state with `event` applied. Events may arrive in any order, and more than once."""
    if isinstance(event, StopRecorded):
        return replace(state, stopped=state.stopped or event.why or "stopped")
    known = state.outcomes.get(event.device)
    if event.device not in state.members or (known is not None and _rank(known) >= _rank(event)):
        return state
    return replace(state, outcomes=MappingProxyType({**state.outcomes, event.device: event}))


def tally(state: RolloutState, rules: RolloutRules, now: datetime, among: frozenset[str] | None = None) -> Tally:
    """Counts the devices of the wave, or those in `among`, by outcome."""
    chosen = state.members if among is None else among
    results = [outcome.ok for name, outcome in state.outcomes.items() if name in chosen]
    oldest = now - timedelta(hours=rules.silent_hours)
    pending = chosen - state.outcomes.keys()
    silent = sum((seen := state.seen.get(name)) is None or seen < oldest for name in pending)
    return Tally(len(chosen), sum(results), len(results) - sum(results), silent)


def decide(state: RolloutState, rules: RolloutRules, now: datetime) -> RolloutDecision:
    """Returns the decision for the release at the time `now`."""
    if state.stopped:
        return Stop(state.stopped)
    counts = tally(state, rules, now)
    groups = {"the wave": counts, "the devices that the wave added": tally(state, rules, now, state.added)}
    needed = min(rules.min_reports, max(counts.members, 1))
    for name, group in groups.items():
        if reason := _too_many(group, rules, needed):
            return Stop(f"{reason} of {name} ({group})")
    hours = (now - state.began).total_seconds() / 3600
    if hours < rules.min_hours:
        return Wait(f"{max(hours, 0):.1f} of {rules.min_hours:g} hours in this wave ({counts})")
    if not state.enrolled:
        return Wait("no device of this target is enrolled, so no device can report an outcome")
    if counts.members and counts.ok / counts.members < rules.success_share:
        return Wait(f"ok from {counts.ok} of {counts.members} devices, {rules.success_share:.0%} are needed ({counts})")
    if _over(counts, rules):
        return Wait(f"too few reports to judge {counts.failed} failed devices ({counts})")
    return Finished(str(counts)) if state.last else Widen(str(counts))


def _too_many(counts: Tally, rules: RolloutRules, needed: int) -> str:
    if rules.max_failed is not None and counts.failed > rules.max_failed:
        return f"{counts.failed} devices failed, at most {rules.max_failed} are allowed,"
    reported = counts.ok + counts.failed
    if reported >= needed and _over(counts, rules):
        return f"{counts.failed / reported:.1%} failed, at most {rules.error_share:.1%} are allowed,"
    return ""


def _over(counts: Tally, rules: RolloutRules) -> bool:
    return bool(counts.failed) and counts.failed / (counts.ok + counts.failed) > rules.error_share


def _rank(outcome: DeviceOutcome) -> tuple[int, bool, str]:
    """Sort key, later is higher. Two outcomes with one number contradict each other: the failure counts."""
    return outcome.seq, not outcome.ok, outcome.code
