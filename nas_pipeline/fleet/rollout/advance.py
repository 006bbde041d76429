"""One step of a roll-out: reads the signed list and the reports, decides, and signs the change that follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from nas_pipeline.errors import FleetError, KeysUnavailable
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.rollout.state_machine import (
    RolloutDecision,
    RolloutRules,
    RolloutState,
    Stop,
    StopRecorded,
    Tally,
    Wait,
    WaveMember,
    Widen,
    apply_event,
    decide,
    initial_state,
    outcome_of,
    tally,
)
from nas_pipeline.fleet.tuf import operations, pending
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, newest
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.settings import FleetSettings

WHO = "rollout"
"""Default author of the journal entries."""


@dataclass(frozen=True, slots=True)
class RolloutChange:
    """A change that a step signed."""

    kind: Literal["widened", "rolled back", "withdrawn"]
    """`withdrawn`: the first release was stopped, and there is no earlier one."""
    now: ReleaseEntry | None
    """The newest release after the change; None: nothing is offered."""
    live: bool
    """False: the change waits for the approver's signature."""


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """The result of one step for one model."""

    target: str
    model: str
    release: ReleaseEntry
    """The newest release before the step."""
    decision: RolloutDecision
    counts: Tally
    change: RolloutChange | None
    """None: nothing was signed. With the decision `Stop`, there is no other release to offer."""


def rollout_rules(settings: FleetSettings) -> RolloutRules:
    """Returns the roll-out rules of the settings.

    Raises:
        FleetError: The settings contain an unknown rule; the message lists the rules.
    """
    try:
        return RolloutRules(**settings.rollout)
    except TypeError as error:
        known = ", ".join(RolloutRules.__dataclass_fields__)
        raise FleetError(f"fleet.rollout: {error}; the rules are: {known}") from error


def current_state(repository: Repository, intake: Intake, target: str, model: str) -> RolloutState | None:
    """Returns the state of a model's newest release; None if nothing is offered."""
    rows = repository.release_list(target, model)
    top = newest(rows)
    if top is None:
        return None
    entries = [line.entry for line in repository.journal.lines() if line.entry.model == model]
    members = [WaveMember(device.device, device.seen) for device in intake.devices(target)]
    state = initial_state(rows, _wave_start(entries, top, repository.clock()), members)
    assert state is not None
    for received in intake.reports(target, model):
        if outcome := outcome_of(received.report, top.release, top.sha256):
            state = apply_event(state, outcome)
    for entry in entries:
        if entry.kind == "stopped" and (entry.counter, entry.target) == (top.release.counter, target):
            state = apply_event(state, StopRecorded(entry.why))
    return state


def advance(
    repository: Repository, intake: Intake, target: str, model: str, *, who: str = WHO
) -> RolloutStep | None:
    """Decides, and signs the change that follows: the next wave, or the last good release for every device.

    Returns:
        The step; None if nothing is offered.

    Raises:
        KeysUnavailable: The change cannot be signed with the available keys; nothing was changed.
        FleetError: Another process changed the list, or something in the store is not to be trusted.
        StorageError: A file could not be written; the next run continues.
    """
    rules, now = rollout_rules(repository.settings), repository.clock()
    state, rows = current_state(repository, intake, target, model), repository.release_list(target, model)
    top = newest(rows)
    if state is None or top is None:
        return None
    counts, decision = tally(state, rules, now), decide(state, rules, now)
    if pending.read(repository.settings.folder, target) is not None:
        decision = Wait(f"a change waits for the approver ({counts})")
    try:
        change = _sign(repository, target, model, top, decision, who)
    except KeysUnavailable as error:
        verb = "stopped" if isinstance(decision, Stop) else "widened"
        raise KeysUnavailable(
            f"{model} release {top.release.counter} must be {verb} ({decision.reason}), but the change cannot be "
            f"signed: {error}. Make the keys available and run `nas fleet rollout` again"
        ) from error
    return RolloutStep(target, model, top, decision, counts, change)


def _sign(
    repository: Repository, target: str, model: str, top: ReleaseEntry, decision: RolloutDecision, who: str
) -> RolloutChange | None:
    if isinstance(decision, Widen):
        wider = operations.widen(repository, target, model, base=top, who=who, why=decision.reason)
        return RolloutChange("widened", wider.now, wider.live)
    # A release that is itself a rollback is not rolled back again: two bad releases would alternate for ever.
    if not isinstance(decision, Stop) or _is_rollback(repository, model, top):
        return None
    change = operations.rollback_or_stop(repository, target, model, base=top, who=who, why=decision.reason)
    if change is None:  # every device has it, and there is no other release to offer
        return None
    return RolloutChange("withdrawn" if change.now is None else "rolled back", change.now, change.live)


def _is_rollback(repository: Repository, model: str, top: ReleaseEntry) -> bool:
    return any(entry.kind == "rolled back" and (entry.model, entry.counter) == (model, top.release.counter)
               for entry in repository.journal.entries())


def _wave_start(entries: list[JournalEntry], top: ReleaseEntry, default: datetime) -> datetime:
    """Time at which this release got its current share; `default` if the journal has no entry for it."""
    share = top.release.wave.share
    times = [entry.when for entry in entries if (entry.counter, entry.share) == (top.release.counter, share)]
    return datetime.fromisoformat(times[0]).astimezone(UTC) if times else default
