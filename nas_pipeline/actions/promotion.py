"""Promotion, rollback and history of the model of a target, as records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas_pipeline.actions.identity import current_user
from nas_pipeline.registry import promote as promotion
from nas_pipeline.registry.aliases import read_alias_state
from nas_pipeline.registry.history import PromotionEvent, took_effect
from nas_pipeline.registry.promote import Promoted


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event in the history of a model."""

    event: PromotionEvent
    took_effect: bool
    """False for an attempt that was interrupted."""


@dataclass(frozen=True, slots=True)
class ModelHistory:
    """The aliases of a registered model and its events, oldest first. A version is empty if the alias is not set."""

    model: str
    champion: str
    previous: str
    candidate: str
    events: tuple[HistoryEvent, ...]


def promote(root: Path, target: str, version: str | None, why: str) -> Promoted:
    """Makes a version of the model of `target` its champion if every promotion gate is green.

    Args:
        root: The workspace.
        target: Name of the target.
        version: Version number; None selects the candidate.
        why: Reason for the history.

    Raises:
        PromotionRefusal: A gate is red.
        RegistryError: There is no such model, version or candidate.
    """
    return promotion.promote(root, target, version=version, who=current_user(), why=why)


def rollback(root: Path, target: str, why: str) -> Promoted:
    """Makes the previous champion of `target` the champion again and withdraws the current one.

    Raises:
        PromotionRefusal: The files of the previous champion have changed.
        RegistryError: There is no previous champion.
    """
    return promotion.rollback(root, target, who=current_user(), why=why)


def read_history(root: Path, target: str) -> ModelHistory:
    """Reads the history of the model of `target`.

    Raises:
        RegistryError: There is no such model.
    """
    model = read_alias_state(root, target)
    effects = took_effect(model.events, model.champion)
    return ModelHistory(
        model.model, model.champion, model.previous, model.candidate,
        tuple(HistoryEvent(event, effect) for event, effect in zip(model.events, effects, strict=True)),
    )
