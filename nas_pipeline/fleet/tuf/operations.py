"""Changes of a published release list, each as one edit: widen a roll-out, stop it, roll back, withdraw a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.contract.wire import WHOLE, release_path
from nas_pipeline.errors import FleetError, NoEarlierRelease
from nas_pipeline.fleet.tuf.edit import Edit
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.release_list import read_release_list
from nas_pipeline.fleet.tuf.releases import (
    ReleaseEntry,
    ReleaseList,
    newest,
    next_counter,
    returned,
    settled,
    widened,
    withdrawn,
)
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.roles import target_versions


@dataclass(frozen=True, slots=True)
class ListChange:
    """The result of a change of a release list."""

    before: ReleaseEntry
    """The newest release before the change, or the withdrawn one."""
    now: ReleaseEntry | None
    """The newest release of the new list; None if the list is empty."""
    live: bool
    """False if the change waits for the approver."""


def widen(
    repository: Repository, target: str, model: str, *, base: ReleaseEntry, who: str, why: str = ""
) -> ListChange:
    """Offers the newest release to the next wave.

    Args:
        repository: The fleet's repository.
        target: The target of the list.
        model: The registered model.
        base: The newest release at the time of the decision.
        who: Author, for the journal.
        why: Reason, for the journal.

    Raises:
        FleetError: The newest release is no longer `base`, or every device may have it already.
    """
    with repository.edit(target, model) as edit:
        _check_base(edit, base)
        release_list = widened(edit.release_list)
        return _sign(edit, "widened", base, release_list, who, why, subject=release_list[0])


def rollback(
    repository: Repository, target: str, model: str, *, who: str, why: str = "", lift_quarantine: bool = True
) -> ListChange:
    """Offers the last good release to every device, under a new counter.

    The last good release is the one of the devices outside the wave, or else the one before the newest release. Devices
    accept it because its counter is higher; those that have the file do not download it again.

    Raises:
        NoEarlierRelease: There is no release to return to.
        KeysUnavailable: The change cannot be signed; nothing was changed.
        FleetError: The list of the earlier release is not available.
    """
    with repository.edit(target, model) as edit:
        change = _roll_back(edit, who, why, lift_quarantine=lift_quarantine)
        if change is None:
            top = newest(edit.release_list)
            raise NoEarlierRelease(
                f"{model} has no release before {top.release.counter} that every device could have" if top
                else f"{model} has no release: there is nothing to roll back"
            )
        return change


def rollback_or_stop(
    repository: Repository, target: str, model: str, *, base: ReleaseEntry, who: str, why: str = ""
) -> ListChange | None:
    """Rolls back, or stops the roll-out if there is no earlier release. None: neither is possible, nothing was changed.

    Args:
        repository: The fleet's repository.
        target: The target of the list.
        model: The registered model.
        base: The newest release at the time of the decision.
        who: Author, for the journal.
        why: Reason, for the journal.

    Raises:
        FleetError: The newest release is no longer `base`, or the list of the earlier release is not available.
    """
    with repository.edit(target, model) as edit:
        _check_base(edit, base)
        return _roll_back(edit, who, why) or _stop(edit, who, why)


def stop(repository: Repository, target: str, model: str, *, who: str, why: str = "") -> ListChange:
    """Ends a roll-out: devices that have the release keep it, no other device gets it.

    Raises:
        FleetError: No roll-out is in progress.
    """
    with repository.edit(target, model) as edit:
        change = _stop(edit, who, why)
        if change is None:
            raise FleetError(f"no roll-out of {model} is in progress: there is nothing to stop")
        return change


def withdraw(repository: Repository, target: str, model: str, sha256: str, *, who: str, why: str = "") -> ListChange:
    """Removes a file from the list; `sha256` is the beginning of its digest. No further device gets it.

    Raises:
        FleetError: No listed file has such a digest.
    """
    with repository.edit(target, model) as edit:
        match = next((entry for entry in edit.release_list if sha256 and entry.sha256.startswith(sha256)), None)
        if match is None:
            digests = ", ".join(entry.sha256[:12] for entry in edit.release_list) or "none"
            raise FleetError(f"the release list of {model} has no file {sha256[:64]!r}; its files: {digests}")
        return _sign(edit, "withdrawn", match, withdrawn(edit.release_list, match.sha256), who, why, subject=match)


def good_releases(entries: Iterable[JournalEntry], target: str, model: str) -> list[JournalEntry]:
    """Returns the releases that were offered to every device, oldest first, without those that were withdrawn.

    A rollback removes the releases after the one to which it returned. The last entry is the current release.
    """
    history: list[JournalEntry] = []
    for entry in entries:
        if (entry.target, entry.model) != (target, model):
            continue
        if entry.kind == "withdrawn":
            history = [earlier for earlier in history if earlier.sha256 != entry.sha256]
        elif entry.share == WHOLE and entry.kind in ("published", "widened", "rolled back"):
            if entry.kind == "rolled back":
                while history and history[-1].sha256 != entry.sha256:
                    history.pop()
            if history and history[-1].sha256 == entry.sha256:
                history.pop()
            history.append(entry)
    return history


def _check_base(edit: Edit, base: ReleaseEntry) -> None:
    if newest(edit.release_list) != base:
        raise FleetError(f"the release list of {edit.model} changed after the decision about release "
                         f"{base.release.counter}: decide again")


def _roll_back(edit: Edit, who: str, why: str, *, lift_quarantine: bool = True) -> ListChange | None:
    top = newest(edit.release_list)
    if top is None:
        return None
    good = settled(edit.release_list) if not top.whole else None
    good = good or _earlier_release(edit, top)
    if good is None:
        return None
    counter = next_counter(edit.release_list, edit.highest_counter)
    release_list = returned(edit.release_list, good, counter, lift_quarantine=lift_quarantine)
    return _sign(edit, "rolled back", top, release_list, who, why, subject=release_list[0])


def _stop(edit: Edit, who: str, why: str) -> ListChange | None:
    top = newest(edit.release_list)
    if top is None or top.whole:
        return None
    return _sign(edit, "stopped", top, withdrawn(edit.release_list, top.sha256), who, why, subject=top)


def _earlier_release(edit: Edit, top: ReleaseEntry) -> ReleaseEntry | None:
    """Reads the last good release before `top` from the local copies of the target's metadata; None: there is none.

    Raises:
        FleetError: The journal has such a release, but no copy of its list exists.
    """
    repository, target, model = edit.repository, edit.target, edit.model
    completed = [line.entry for line in edit.lines if line.stage == "done"]
    history = [entry for entry in good_releases(completed, target, model) if entry.sha256 != top.sha256]
    if not history:
        return None
    wanted = history[-1]
    for metadata in target_versions(repository.writer().copies, target):
        if release_path(target, model) not in metadata.signed.targets:
            continue
        for entry in read_release_list(repository.store, {target: metadata}, target, model):
            if (entry.release.counter, entry.sha256) == (wanted.counter, wanted.sha256):
                return entry
    raise FleetError(f"the journal has release {wanted.counter} of {model}, but {edit.settings.folder / 'metadata'} "
                     f"has no copy of its list: publish version {wanted.version} again")


def _sign(
    edit: Edit, kind: str, before: ReleaseEntry, release_list: ReleaseList, who: str, why: str, *,
    subject: ReleaseEntry,
) -> ListChange:
    """Signs a list; the journal entry describes `subject`."""
    live = edit.sign(release_list, edit.entry(kind, subject, who=who, why=why))
    return ListChange(before, newest(release_list), live)
