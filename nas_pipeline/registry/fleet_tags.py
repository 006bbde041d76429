"""What the registry shows of the fleet: aliases as the signed releases have them, and how many devices are well.

The signed releases are the truth and the aliases a view of them, so they are moved last, and `champion` last of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient

from nas_pipeline.registry.aliases import PREVIOUS, Standing, get_version, read_standing, shortened, write_event
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.history import Event, came_about, in_use
from nas_pipeline.registry.register import CANDIDATE, CHAMPION
from nas_pipeline.registry.releasing import CANARY
from nas_pipeline.registry.tags import WITHDRAWN

_WHY_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """The aliases of a model, as signed releases and journal have them."""

    model: str
    champion: str
    """Version that every device may have; empty: none, and the alias is left as it is."""
    canary: str
    """Version in waves; empty: none."""
    withdrawn: Mapping[str, str]
    """Version -> why, of those that were rolled back or taken away."""


def align(root: Path, wanted: Wanted, *, who: str, why: str = "", tracking_uri: str | None = None) -> list[str]:
    """Bring the aliases in line; returns what was changed, in words. Nothing to change is no write.

    Raises:
        RegistryError: The model or one of the versions is not in the registry.
        TrackingUnavailable: MLflow does not answer; the next run goes on.
    """
    done: list[str] = []
    with tracking(root, tracking_uri) as client:
        now = read_standing(client, wanted.model)
        for version in filter(None, (wanted.champion, wanted.canary)):
            get_version(client, wanted.model, version)
        done += _withdraw(client, now, wanted)
        done += _set(client, wanted.model, CANARY, wanted.canary)
        if not wanted.champion:
            return done
        events, moved = now.events, now.champion != wanted.champion
        if moved and (event := _event(client, now, wanted, who, why)) is not None:
            write_event(client, wanted.model, event)
            events = (*events, event)
        stack = in_use(events, wanted.champion)
        done += _set(client, wanted.model, PREVIOUS, stack[-2] if len(stack) > 1 else "")
        if moved:
            done += _set(client, wanted.model, CHAMPION, wanted.champion)
    return done


def write_counts(
    root: Path, model: str, version: str, wave: int, counts: Mapping[str, int], *, counter: int,
    tracking_uri: str | None = None,
) -> None:
    """Tags of the version: `fleet.counter`, and `fleet.wave_N.ok`, `.failed`, `.silent`; N counts from 1.

    Raises:
        RegistryError: There is no such version.
        TrackingUnavailable: MLflow does not answer.
    """
    tags = {f"fleet.wave_{wave}.{name}": str(number) for name, number in counts.items()}
    with tracking(root, tracking_uri) as client:
        known = dict(get_version(client, model, version).tags)
        for name, value in {"fleet.counter": str(counter), **tags}.items():
            if known.get(name) != value:
                client.set_model_version_tag(model, version, name, value)


def _withdraw(client: MlflowClient, now: Standing, wanted: Wanted) -> list[str]:
    done = []
    for version, why in wanted.withdrawn.items():
        if version in (wanted.champion, wanted.canary):
            continue
        if WITHDRAWN not in get_version(client, now.model, version).tags:
            client.set_model_version_tag(now.model, version, WITHDRAWN, why[:_WHY_CHARACTERS] or "rolled back")
            done.append(f"version {version} is marked as withdrawn")
        if now.candidate == version:
            done += _set(client, now.model, CANDIDATE, "")
    return done


def _event(client: MlflowClient, now: Standing, wanted: Wanted, who: str, why: str) -> Event | None:
    """What history lacks so that it leads to the champion; None: it does already, and only the alias was elsewhere."""
    gone = now.champion in wanted.withdrawn and _leads_to(now.events, now.champion)
    if not gone and _leads_to(now.events, wanted.champion):
        return None
    version = get_version(client, now.model, wanted.champion)
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return Event(
        "rolled back" if gone else "promoted", when, who, (wanted.withdrawn[now.champion] if gone else why)[:500],
        wanted.champion, now.champion, "", str(version.run_id or ""),
        shortened(f"from version {now.champion}" if gone else "every device may have it"),
    )


def _leads_to(events: Sequence[Event], champion: str) -> bool:
    """Whether the last move that took effect made this version champion; if not, the alias was moved by hand."""
    moves = [event for event, took in zip(events, came_about(events, champion), strict=True)
             if took and event.kind != "refused"]
    return bool(moves) and moves[-1].version == champion


def _set(client: MlflowClient, model: str, alias: str, version: str) -> list[str]:
    """Move an alias, or take it away, unless it is so already."""
    found = str(client.get_registered_model(model).aliases.get(alias, ""))
    if found == version:
        return []
    if version:
        client.set_registered_model_alias(model, alias, version)
    else:
        client.delete_registered_model_alias(model, alias)
    return [f"{alias}: {found or 'none'} -> {version or 'none'}"]
