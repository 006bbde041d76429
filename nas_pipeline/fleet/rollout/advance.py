"""One step of a roll-out: what is signed and what devices said, a decision, and the list that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.rollout.state_machine import (
    Decision,
    Member,
    RolloutRules,
    State,
    Stop,
    Stopped,
    Tally,
    Wait,
    Widen,
    after,
    begin,
    decide,
    tally,
    word,
)
from nas_pipeline.fleet.tuf import operations, pending
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, newest
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.settings import FleetSettings

WHO = "rollout"
"""Who did it, in the journal."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one model's roll-out."""

    target: str
    model: str
    release: ReleaseEntry
    decision: Decision
    counts: Tally
    done: str
    """What was signed; empty: nothing."""


def rules_of(settings: FleetSettings) -> RolloutRules:
    """The rules in the settings.

    Raises:
        FleetError: There is no such rule.
    """
    try:
        return RolloutRules(**settings.rollout)
    except TypeError as error:
        known = ", ".join(RolloutRules.__dataclass_fields__)
        raise FleetError(f"fleet.rollout: {error}; the rules are: {known}") from error


def look(repository: Repository, intake: Intake, target: str, model: str) -> State | None:
    """The state of a model's newest release; None where nothing is offered."""
    rows = repository.release_list(target, model)
    top = newest(rows)
    if top is None:
        return None
    entries = [line.entry for line in repository.journal.lines() if line.entry.model == model]
    members = [Member(each.device, each.seen) for each in intake.devices(target)]
    state = begin(rows, _began(entries, top, repository.clock()), members)
    assert state is not None
    for heard in intake.heard(target, model):
        if said := word(heard.report, top.release, top.sha256):
            state = after(state, said)
    for entry in entries:
        if entry.kind == "stopped" and (entry.counter, entry.target) == (top.release.counter, target):
            state = after(state, Stopped(entry.why))
    return state


def advance(repository: Repository, intake: Intake, target: str, model: str, *, who: str = WHO) -> Step | None:
    """Decide, and sign what follows: the next wave, or the last good file for everyone. None: nothing is offered.

    Raises:
        FleetError: A key is not at hand, or somebody else was faster; nothing was changed.
        StorageError: A file could not be written; the next run goes on.
    """
    rules, now = rules_of(repository.settings), repository.clock()
    state, rows = look(repository, intake, target, model), repository.release_list(target, model)
    top = newest(rows)
    if state is None or top is None:
        return None
    counts, decision, done = tally(state, rules, now), decide(state, rules, now), ""
    if pending.read(repository.settings.folder, target) is not None:
        decision = Wait(f"a change waits for the approver ({counts})")
    if isinstance(decision, Widen):
        done = _widen(repository, target, model, top, who, decision.reason)
    elif isinstance(decision, Stop):
        done = _return(repository, target, model, top, who, decision.reason)
    return Step(target, model, top, decision, counts, done)


def _widen(repository: Repository, target: str, model: str, top: ReleaseEntry, who: str, why: str) -> str:
    change = operations.widen(repository, target, model, base=top, who=who, why=why)
    assert change.now is not None
    wave = change.now.release.wave
    return f"wave {wave.index + 1} of {len(wave.shares)}: {wave.share / 100:g} %" + _waits(change.live)


def _return(repository: Repository, target: str, model: str, top: ReleaseEntry, who: str, why: str) -> str:
    if _is_return(repository, model, top):
        return ""  # it is the last good one, brought back: two that are bad must not take turns for ever
    change = operations.rollback_or_stop(repository, target, model, base=top, who=who, why=why)
    if change is None:
        return ""
    if change.now is None:
        return "taken away; there is none to go back to" + _waits(change.live)
    release = change.now.release
    return f"release {release.counter}, version {release.version}, for everyone" + _waits(change.live)


def _is_return(repository: Repository, model: str, top: ReleaseEntry) -> bool:
    return any(entry.kind == "rolled back" and (entry.model, entry.counter) == (model, top.release.counter)
               for entry in repository.journal.entries())


def _waits(live: bool) -> str:
    return "" if live else " (waits for the approver)"


def _began(entries: list[JournalEntry], top: ReleaseEntry, otherwise: datetime) -> datetime:
    """When this counter got this share; where the journal does not say, the wave begins now."""
    share = top.release.wave.share
    found = [entry.when for entry in entries if (entry.counter, entry.share) == (top.release.counter, share)]
    return datetime.fromisoformat(found[0]).astimezone(UTC) if found else otherwise
