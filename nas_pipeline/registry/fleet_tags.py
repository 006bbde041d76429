"""Writes the state of the fleet to the registry: aliases that follow the signed releases, and counts of devices.

The signed releases are authoritative and the aliases are a view of them, so aliases are moved last, and `champion`
after all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient

from nas_pipeline.registry.aliases import (
    PREVIOUS,
    AliasState,
    get_alias_state,
    get_version,
    truncate_summary,
    write_event,
)
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.history import PromotionEvent, champion_stack, took_effect
from nas_pipeline.registry.register import CANDIDATE, CHAMPION
from nas_pipeline.registry.releasing import CANARY
from nas_pipeline.registry.tags import WITHDRAWN

_WHY_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class DesiredAliases:
    """The aliases of a model that follow from the signed releases and the journal."""

    model: str
    champion: str
    """The version that is released to every device; empty: none, and the alias stays as it is."""
    canary: str
    """The version that is released to a part of the fleet; empty: none."""
    withdrawn: Mapping[str, str]
    """Version -> reason, of the versions that were rolled back or withdrawn."""


def align(root: Path, wanted: DesiredAliases, *, who: str, why: str = "", tracking_uri: str | None = None) -> list[str]:
    """Sets the aliases of a model; returns one line per change. Without a difference nothing is written.

    Raises:
        RegistryError: The model or one of the versions is not in the registry.
        TrackingUnavailable: MLflow does not respond; the next run continues.
    """
    done: list[str] = []
    with tracking(root, tracking_uri) as client:
        now = get_alias_state(client, wanted.model)
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
        stack = champion_stack(events, wanted.champion)
        done += _set(client, wanted.model, PREVIOUS, stack[-2] if len(stack) > 1 else "")
        if moved:
            done += _set(client, wanted.model, CHAMPION, wanted.champion)
    return done


def write_counts(
    root: Path, model: str, version: str, wave: int, counts: Mapping[str, int], *, counter: int,
    tracking_uri: str | None = None,
) -> None:
    """Writes tags of the version: `fleet.counter`, and `fleet.wave_N.ok`, `.failed`, `.silent`; N counts from 1.

    Raises:
        RegistryError: There is no such version.
        TrackingUnavailable: MLflow does not respond.
    """
    tags = {f"fleet.wave_{wave}.{name}": str(number) for name, number in counts.items()}
    with tracking(root, tracking_uri) as client:
        known = dict(get_version(client, model, version).tags)
        for name, value in {"fleet.counter": str(counter), **tags}.items():
            if known.get(name) != value:
                client.set_model_version_tag(model, version, name, value)


def _withdraw(client: MlflowClient, now: AliasState, wanted: DesiredAliases) -> list[str]:
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


def _event(client: MlflowClient, now: AliasState, wanted: DesiredAliases, who: str, why: str) -> PromotionEvent | None:
    """Returns the event that the history lacks to lead to the champion; None where only the alias differs."""
    gone = now.champion in wanted.withdrawn and _leads_to(now.events, now.champion)
    if not gone and _leads_to(now.events, wanted.champion):
        return None
    version = get_version(client, now.model, wanted.champion)
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return PromotionEvent(
        "rolled back" if gone else "promoted", when, who, (wanted.withdrawn[now.champion] if gone else why)[:500],
        wanted.champion, now.champion, "", str(version.run_id or ""),
        truncate_summary(f"from version {now.champion}" if gone else "released to every device"),
    )


def _leads_to(events: Sequence[PromotionEvent], champion: str) -> bool:
    """Whether the last event that took effect made this version champion; if not, the alias was moved by hand."""
    moves = [event for event, took in zip(events, took_effect(events, champion), strict=True)
             if took and event.kind != "refused"]
    return bool(moves) and moves[-1].version == champion


def _set(client: MlflowClient, model: str, alias: str, version: str) -> list[str]:
    """Sets or deletes an alias; returns one line, or none where nothing changed."""
    current = str(client.get_registered_model(model).aliases.get(alias, ""))
    if current == version:
        return []
    if version:
        client.set_registered_model_alias(model, alias, version)
    else:
        client.delete_registered_model_alias(model, alias)
    return [f"{alias}: {current or 'none'} -> {version or 'none'}"]
