"""Updates the registry to match the signed releases, and completes operations that a crash interrupted. Idempotent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas_pipeline.errors import NasError, TrackingUnavailable
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.publish import publish
from nas_pipeline.fleet.tuf.registry_backup import write_registry_backup
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, newest, settled
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.settings import stamp
from nas_pipeline.registry.fleet_tags import DesiredAliases, align

WHO = "reconcile"
"""Default author of the journal entries."""


def target_aliases(model: str, rows: tuple[ReleaseEntry, ...], entries: Iterable[JournalEntry]) -> DesiredAliases:
    """Computes the registry aliases from the signed releases and the journal. Pure."""
    top, good = newest(rows), settled(rows)
    canary = top.release.version if top is not None and not top.whole else ""
    champion = good.release.version if good is not None else ""
    return DesiredAliases(model, champion, canary, withdrawn_versions(entries, model))


def withdrawn_versions(entries: Iterable[JournalEntry], model: str) -> dict[str, str]:
    """Returns version -> reason of the versions that were rolled back or withdrawn, and not published again since."""
    reasons: dict[str, str] = {}
    top = ""
    for entry in entries:
        if entry.model != model:
            continue
        if entry.kind == "rolled back":
            if top and top != entry.version:
                reasons[top] = entry.why
            reasons.pop(entry.version, None)
            top = entry.version
        elif entry.kind in ("stopped", "withdrawn"):
            reasons[entry.version] = entry.why
        elif entry.kind in ("published", "widened"):
            reasons.pop(entry.version, None)
            top = entry.version
    return reasons


def reconcile(repository: Repository, root: Path, *, who: str = WHO, tracking_uri: str | None = None) -> list[str]:
    """Completes interrupted operations and updates the registry.

    Returns:
        The repairs, as text; empty if there was nothing to repair.

    Raises:
        FleetError: A file in the store is not to be trusted.
        RegistryError: A model or version is missing in the registry; `nas registry rebuild` restores it.
        TrackingUnavailable: MLflow does not respond.
    """
    before = len(repository.journal.entries())
    with repository.locked():
        repository.recover()
    done = [f"completed in the journal: {entry.kind} {entry.model} release {entry.counter}"
            for entry in repository.journal.entries()[before:]]
    done += _finish_publications(repository, root, who, tracking_uri)
    for target, model in published_models(repository):
        done += update_registry(repository, root, target, model, who=who, tracking_uri=tracking_uri)
    return done


def update_registry(
    repository: Repository, root: Path, target: str, model: str, *, who: str, why: str = "",
    tracking_uri: str | None = None,
) -> list[str]:
    """Updates the aliases of one model, records a new champion in the journal, and backs up the registry entry."""
    rows = repository.release_list(target, model)
    goal = target_aliases(model, rows, repository.journal.entries())
    done = align(root, goal, who=who, why=why, tracking_uri=tracking_uri)
    good = settled(rows)
    if good is not None and any(line.startswith("champion") for line in done):
        with repository.locked():
            repository.journal.append(JournalEntry(
                kind="champion", when=stamp(repository.clock()), who=who, why=why or "; ".join(done), target=target,
                model=model, version=good.release.version, counter=good.release.counter, sha256=good.sha256,
                bundle=good.release.bundle,
                key=f"champion {model}/{good.release.counter}/{stamp(repository.clock())}",
            ))
    write_registry_backup(repository.store, root, model, tracking_uri=tracking_uri)
    return [f"{model}: {line}" for line in done]


def published_models(repository: Repository) -> list[tuple[str, str]]:
    """Returns (target, model) of everything that was ever published; the current list of a model may be empty."""
    written = {(entry.target, entry.model) for entry in repository.journal.entries() if entry.model}
    return sorted(written | set(repository.models()))


def _finish_publications(repository: Repository, root: Path, who: str, tracking_uri: str | None) -> list[str]:
    """Finishes publications that were started and not superseded."""
    done = []
    for entry in repository.journal.unfinished():
        if entry.kind != "published" or entry.counter < repository.highest_counter(entry.target, entry.model):
            continue
        try:
            publish(repository, root, entry.target, who=entry.who or who, why=entry.why, version=entry.version,
                    tracking_uri=tracking_uri)
            done.append(f"{entry.model}: the interrupted publication of version {entry.version} is complete")
        except TrackingUnavailable:
            raise
        except NasError as error:
            done.append(f"{entry.model}: the interrupted publication of version {entry.version} failed: {error}")
    return done
