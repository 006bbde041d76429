"""What a fleet owner does in an emergency, each in one step: stop a roll-out, go back, take a file away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.contract.wire import WHOLE, release_path
from nas_pipeline.errors import FleetError, NoEarlierRelease
from nas_pipeline.fleet.tuf.journal import Entry
from nas_pipeline.fleet.tuf.release_list import read_rows
from nas_pipeline.fleet.tuf.releases import (
    ReleaseEntry,
    ReleaseList,
    newest,
    next_counter,
    returned,
    settled,
    withdrawn,
)
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.roles import family_versions
from nas_pipeline.fleet.tuf.settings import stamp


@dataclass(frozen=True, slots=True)
class Done:
    """What is offered now."""

    before: ReleaseEntry
    now: ReleaseEntry | None
    """None: nothing."""
    live: bool
    """False: it waits for the approver."""


def rollback(
    repository: Repository, target: str, model: str, *, who: str, why: str = "", lift_quarantine: bool = True
) -> Done:
    """The last good release for everyone: that of the devices outside the wave, else the one before this one.

    It is the same file under a counter above all before, so devices take it. Those that have it fetch nothing.

    Raises:
        NoEarlierRelease: No earlier release was available to every device.
        KeysUnavailable: The change cannot be signed; nothing was changed.
        FleetError: The model has no release, or no copy of the earlier release is left.
    """
    rows = repository.rows(target, model)
    top = newest(rows)
    if top is None:
        raise FleetError(f"{model} has no release: there is nothing to go back from")
    good = settled(rows) if not top.whole else None
    good = good or _earlier(repository, target, model, top)
    counter = next_counter(rows, repository.highest_counter(target, model))
    listing = returned(rows, good, counter, lift_quarantine=lift_quarantine)
    live = repository.release(target, model, listing, entry=_entry(repository, "rolled back", listing[0], who, why))
    return Done(top, listing[0], live)


def stop(repository: Repository, target: str, model: str, *, who: str, why: str = "") -> Done:
    """Nobody gets the release of the roll-out any more; who has it keeps it.

    Raises:
        FleetError: No roll-out is on its way.
    """
    rows = repository.rows(target, model)
    top = newest(rows)
    if top is None or top.whole:
        raise FleetError(f"no roll-out of {model} is on its way: there is nothing to stop")
    return _without(repository, target, model, rows, top, _entry(repository, "stopped", top, who, why))


def withdraw(repository: Repository, target: str, model: str, sha256: str, *, who: str, why: str = "") -> Done:
    """Take a file (by the beginning of its sha256) out of the list; nobody gets it any more.

    Raises:
        FleetError: No listed file begins so.
    """
    rows = repository.rows(target, model)
    found = next((row for row in rows if sha256 and row.sha256.startswith(sha256)), None)
    if found is None:
        listed = ", ".join(row.sha256[:12] for row in rows) or "nothing"
        raise FleetError(f"{model} lists no file {sha256[:64]!r}; it lists: {listed}")
    return _without(repository, target, model, rows, found, _entry(repository, "withdrawn", found, who, why))


def good_ones(entries: Iterable[Entry], target: str, model: str) -> list[Entry]:
    """Releases that everyone could have, oldest first, as a way back goes through them. The last one is of now."""
    way: list[Entry] = []
    for entry in entries:
        if (entry.target, entry.model) != (target, model):
            continue
        if entry.kind == "withdrawn":
            way = [each for each in way if each.sha256 != entry.sha256]
        elif entry.share == WHOLE and entry.kind in ("published", "widened", "rolled back"):
            if entry.kind == "rolled back":
                while way and way[-1].sha256 != entry.sha256:
                    way.pop()
            if way and way[-1].sha256 == entry.sha256:
                way.pop()
            way.append(entry)
    return way


def _earlier(repository: Repository, target: str, model: str, top: ReleaseEntry) -> ReleaseEntry:
    way = [each for each in good_ones(repository.journal.entries(), target, model) if each.sha256 != top.sha256]
    if not way:
        raise NoEarlierRelease(f"{model} has no release before {top.release.counter} that everyone could have")
    wanted = way[-1]
    path = release_path(target, model)
    for targets in family_versions(repository.writer().copies, target):
        if path not in targets.targets:
            continue
        rows = read_rows(repository.store, target, model, targets)
        for row in rows:
            if (row.release.counter, row.sha256) == (wanted.counter, wanted.sha256):
                return row
    raise FleetError(f"release {wanted.counter} of {model} is in the journal, and no copy of its list is in "
                     f"{repository.settings.folder / 'metadata'}: publish version {wanted.version} again")


def _without(
    repository: Repository, target: str, model: str, rows: ReleaseList, gone: ReleaseEntry, entry: Entry
) -> Done:
    rest = withdrawn(rows, gone.sha256)
    live = repository.release(target, model, rest, entry=entry)
    return Done(gone, newest(rest), live)


def _entry(repository: Repository, kind: str, row: ReleaseEntry, who: str, why: str) -> Entry:
    release = row.release
    return Entry(kind=kind, when=stamp(repository.clock()), who=who, why=why, version=release.version,
                 counter=release.counter, sha256=row.sha256, bundle=release.bundle, share=release.wave.share)
