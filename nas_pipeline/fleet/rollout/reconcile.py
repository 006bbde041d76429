"""Brings the registry in line with what is signed, and ends what a crash left half done. One run is enough."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas_pipeline.errors import NasError, TrackingUnavailable
from nas_pipeline.fleet.tuf.journal import Entry
from nas_pipeline.fleet.tuf.publish import publish
from nas_pipeline.fleet.tuf.registry_backup import keep
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, newest, settled
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.settings import stamp
from nas_pipeline.registry.fleet_tags import DesiredAliases, align

WHO = "reconcile"


def wanted(model: str, rows: tuple[ReleaseEntry, ...], entries: Iterable[Entry]) -> DesiredAliases:
    """The aliases that follow from the signed releases and the journal. Pure."""
    top, good = newest(rows), settled(rows)
    canary = top.release.version if top is not None and not top.whole else ""
    return DesiredAliases(model, good.release.version if good is not None else "", canary, withdrawn(entries, model))


def withdrawn(entries: Iterable[Entry], model: str) -> dict[str, str]:
    """Version -> why, of those that gave way or were taken away, and were not published again since."""
    gone: dict[str, str] = {}
    top = ""
    for entry in entries:
        if entry.model != model:
            continue
        if entry.kind == "rolled back":
            if top and top != entry.version:
                gone[top] = entry.why
            gone.pop(entry.version, None)
            top = entry.version
        elif entry.kind in ("stopped", "withdrawn"):
            gone[entry.version] = entry.why
        elif entry.kind in ("published", "widened"):
            gone.pop(entry.version, None)
            top = entry.version
    return gone


def reconcile(repository: Repository, root: Path, *, who: str = WHO, tracking_uri: str | None = None) -> list[str]:
    """Repair, and say what was done; empty where all was well.

    Raises:
        FleetError: Something in the store is not to be trusted.
        RegistryError: A model or version is not in the registry: `nas registry rebuild` makes it again.
        TrackingUnavailable: MLflow does not answer.
    """
    before = len(repository.journal.entries())
    with repository.locked():
        repository.settled()
    done = [f"written down as done: {entry.kind} {entry.model} release {entry.counter}"
            for entry in repository.journal.entries()[before:]]
    done += _carried_out(repository, root, who, tracking_uri)
    for target, model in models(repository):
        done += show(repository, root, target, model, who=who, tracking_uri=tracking_uri)
    return done


def show(
    repository: Repository, root: Path, target: str, model: str, *, who: str, why: str = "",
    tracking_uri: str | None = None,
) -> list[str]:
    """Bring one model's aliases in line, note a change of champion in the journal, and keep what the registry says."""
    rows = repository.rows(target, model)
    goal = wanted(model, rows, repository.journal.entries())
    done = align(root, goal, who=who, why=why, tracking_uri=tracking_uri)
    good = settled(rows)
    if good is not None and any(line.startswith("champion") for line in done):
        with repository.locked():
            repository.journal.append(Entry(
                kind="champion", when=stamp(repository.clock()), who=who, why=why or "; ".join(done), target=target,
                model=model, version=good.release.version, counter=good.release.counter, sha256=good.sha256,
                bundle=good.release.bundle,
                key=f"champion {model}/{good.release.counter}/{stamp(repository.clock())}",
            ))
    keep(repository.store, root, model, tracking_uri=tracking_uri)
    return [f"{model}: {line}" for line in done]


def models(repository: Repository) -> list[tuple[str, str]]:
    """(target, model) of everything that was ever published; a list may be empty now."""
    written = {(entry.target, entry.model) for entry in repository.journal.entries() if entry.model}
    return sorted(written | set(repository.models()))


def _carried_out(repository: Repository, root: Path, who: str, tracking_uri: str | None) -> list[str]:
    """Publications that were begun and are not overtaken are gone through with."""
    done = []
    for entry in repository.journal.unfinished():
        if entry.kind != "published" or entry.counter < repository.highest_counter(entry.target, entry.model):
            continue
        try:
            publish(repository, root, entry.target, who=entry.who or who, why=entry.why, version=entry.version,
                    tracking_uri=tracking_uri)
            done.append(f"{entry.model}: the publication of version {entry.version} was carried out")
        except TrackingUnavailable:
            raise
        except NasError as error:
            done.append(f"{entry.model}: version {entry.version} was begun to be published, and is not: {error}")
    return done
