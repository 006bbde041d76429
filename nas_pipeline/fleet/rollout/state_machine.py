"""Whether a release may go on to more devices: a pure function of the signed list, what devices said, and the clock.

A state is never stored. It is built again each time from the signed rows and the reports, so nothing can be lost
between two runs, and the order in which reports come in does not matter: of each device, its latest word counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from edge_agent.contract.wire import Release, Report
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, newest

_ABOUT_THE_RELEASE = frozenset({
    "wrong_hardware", "wrong_runtime", "wrong_model", "old_agent", "bad_release", "unsafe_model", "wrong_answers",
    "too_slow", "too_much_memory", "crashed", "quarantined",
})
"""Codes of a refusal that speak against the release. The others speak of a network, a mirror, a clock or a disk."""


@dataclass(frozen=True, slots=True)
class RolloutRules:
    """When a wave is wide enough proved, and when it is stopped."""

    error_share: float = 0.05
    """Failed / (ok + failed), among all devices of the wave or among those that it added; above it: stop."""
    min_reports: int = 3
    """So many devices have to have said ok or failed before the share counts; or all of them, where there are fewer."""
    success_share: float = 0.8
    """Of the enrolled devices of the wave, silent ones included: so many have to have said ok before it is widened."""
    min_hours: float = 1.0
    """A wave lasts at least so long."""
    max_failed: int | None = None
    """More devices than this that failed: stop, whatever their share."""
    silent_hours: float = 48.0
    """A device that has said nothing of any kind for so long is shown as silent. It never counts as ok."""


@dataclass(frozen=True, slots=True)
class Member:
    """An enrolled device, as far as the decision needs it."""

    device: str
    seen: datetime | None
    """When its last report came in; None: never."""


@dataclass(frozen=True, slots=True)
class Said:
    """A device's word on the release: it runs, or it does not."""

    device: str
    seq: int
    ok: bool
    code: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The journal has it that this release was stopped."""

    why: str


@dataclass(frozen=True, slots=True)
class State:
    """One release in one wave, and what is known of it."""

    counter: int
    index: int
    waves: int
    began: datetime
    """When this wave became the one that is signed."""
    enrolled: int
    """Devices of the target, in the wave or not."""
    members: frozenset[str]
    """Enrolled devices that the wave admits."""
    added: frozenset[str]
    """Those of them that the wave before did not admit."""
    seen: Mapping[str, datetime | None]
    said: Mapping[str, Said] = field(default_factory=lambda: MappingProxyType({}))
    """The latest word of each member that has given one."""
    stopped: str = ""

    @property
    def last(self) -> bool:
        """Whether the wave is the whole fleet."""
        return self.index == self.waves - 1


@dataclass(frozen=True, slots=True)
class Tally:
    """Devices of a wave, counted."""

    members: int
    ok: int
    failed: int
    silent: int
    """No word on the release, and none on anything for `silent_hours`."""

    @property
    def waiting(self) -> int:
        """Not heard of the release yet, but heard of."""
        return self.members - self.ok - self.failed - self.silent

    def __str__(self) -> str:
        devices = "1 device" if self.members == 1 else f"{self.members} devices"
        return f"{devices}: {self.ok} ok, {self.failed} failed, {self.waiting} not yet, {self.silent} silent"


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Widen:
    """The next wave may begin."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """No further device may get it, and those that have it go back."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Every device may have it, and enough of them say that it runs."""

    reason: str


Decision = Wait | Widen | Stop | Finished
Event = Said | Stopped


def begin(rows: Sequence[ReleaseEntry], began: datetime, devices: Iterable[Member]) -> State | None:
    """The state before anybody has said anything; None where nothing is published."""
    top = newest(rows)
    if top is None:
        return None
    wave, devices = top.release.wave, tuple(devices)
    members = {each.device: each.seen for each in devices if wave.admits(each.device)}
    before = replace(wave, index=wave.index - 1) if wave.index else None
    added = frozenset(name for name in members if before is None or not before.admits(name))
    return State(top.release.counter, wave.index, len(wave.shares), began, len(devices), frozenset(members), added,
                 MappingProxyType(members))


def word(report: Report, release: Release, sha256: str) -> Said | None:
    """What a report says of a release; None where it says nothing of it."""
    counter = report.about.get("counter")
    ok: bool | None = None
    if report.event in {"failed", "quarantined", "reverted"} or (
        report.event == "refused" and report.code in _ABOUT_THE_RELEASE
    ):
        ok = False if counter == release.counter else None
    elif report.event in {"installed", "current"}:
        ok = True if (report.counter, report.sha256) == (release.counter, sha256) else None
    return None if ok is None else Said(report.device, report.seq, ok, report.code)


def after(state: State, event: Event) -> State:
    """The state once `event` is known. Events may come in any order, and more than once."""
    if isinstance(event, Stopped):
        return replace(state, stopped=state.stopped or event.why or "stopped")
    known = state.said.get(event.device)
    if event.device not in state.members or (known is not None and _rank(known) >= _rank(event)):
        return state
    return replace(state, said=MappingProxyType({**state.said, event.device: event}))


def tally(state: State, rules: RolloutRules, now: datetime, among: frozenset[str] | None = None) -> Tally:
    """Count the devices of the wave, or those `among` them."""
    chosen = state.members if among is None else among
    words = [each.ok for name, each in state.said.items() if name in chosen]
    old = now - timedelta(hours=rules.silent_hours)
    unheard = chosen - state.said.keys()
    silent = sum((seen := state.seen.get(name)) is None or seen < old for name in unheard)
    return Tally(len(chosen), sum(words), len(words) - sum(words), silent)


def decide(state: State, rules: RolloutRules, now: datetime) -> Decision:
    """What to do with the release now."""
    if state.stopped:
        return Stop(state.stopped)
    counts = tally(state, rules, now)
    groups = {"the wave": counts, "the devices that the wave added": tally(state, rules, now, state.added)}
    needed = min(rules.min_reports, max(counts.members, 1))
    for name, each in groups.items():
        if reason := _too_many(each, rules, needed):
            return Stop(f"{reason} of {name} ({each})")
    hours = (now - state.began).total_seconds() / 3600
    if hours < rules.min_hours:
        return Wait(f"{max(hours, 0):.1f} of {rules.min_hours:g} hours in this wave ({counts})")
    if not state.enrolled:
        return Wait("no device of this target is enrolled: nobody can say that it runs")
    if counts.members and counts.ok / counts.members < rules.success_share:
        return Wait(f"ok from {counts.ok} of {counts.members} devices, {rules.success_share:.0%} are needed ({counts})")
    if _over(counts, rules):
        return Wait(f"too few reports to judge {counts.failed} failed devices ({counts})")
    return Finished(str(counts)) if state.last else Widen(str(counts))


def _too_many(counts: Tally, rules: RolloutRules, needed: int) -> str:
    if rules.max_failed is not None and counts.failed > rules.max_failed:
        return f"{counts.failed} devices failed, at most {rules.max_failed} may,"
    heard = counts.ok + counts.failed
    if heard >= needed and _over(counts, rules):
        return f"{counts.failed / heard:.1%} failed, at most {rules.error_share:.1%} may,"
    return ""


def _over(counts: Tally, rules: RolloutRules) -> bool:
    return bool(counts.failed) and counts.failed / (counts.ok + counts.failed) > rules.error_share


def _rank(said: Said) -> tuple[int, bool, str]:
    """Later is higher; of two under one number, which cannot both be true, the failure counts."""
    return said.seq, not said.ok, said.code
