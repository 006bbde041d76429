"""Aliases and events of a registered model: which version is champion, which was before, and why.

Events are tags of the registered model; the results of the gates are in the version's run. The alias `champion` alone
defines which version is in use. It is one value in one row of the database, so a reader sees the old version or the new
one, never none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from nas_pipeline.core.files import canonical_json
from nas_pipeline.core.records import GateResult
from nas_pipeline.errors import RegistryError
from nas_pipeline.gates.gate import format_figure
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.history import PromotionEvent, champion_stack
from nas_pipeline.registry.register import CANDIDATE, CHAMPION, model_name
from nas_pipeline.registry.results import read_dataset

PREVIOUS = "previous"
_EVENT = "promotion.event."
_GATE = "promotion.gate."
_SUMMARY_CHARACTERS = 1500  # with the other fields of an event, well below MLflow's 5000 for a tag of a model


@dataclass(frozen=True, slots=True)
class AliasState:
    """The aliases and events of a registered model at one moment."""

    model: str
    champion: str
    """Version number; empty where there is none."""
    candidate: str
    previous: str
    events: tuple[PromotionEvent, ...]
    """Oldest first."""

    @property
    def champion_stack(self) -> list[str]:
        """The champions that rollbacks return to, oldest first; the last one is in use now."""
        return champion_stack(self.events, self.champion)


def read_alias_state(root: Path, target: str, *, tracking_uri: str | None = None) -> AliasState:
    """Returns the aliases and the history of the model of `target`.

    Raises:
        RegistryError: No version of it was registered.
        TrackingUnavailable: MLflow does not respond.
    """
    name = model_name(read_dataset(root).name, target)
    with tracking(root, tracking_uri) as client:
        return get_alias_state(client, name)


def get_alias_state(client: MlflowClient, name: str) -> AliasState:
    """Returns the aliases and events of a registered model.

    Raises:
        RegistryError: There is no such model.
    """
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = ", ".join(sorted(model.name for model in client.search_registered_models())) or "none"
        raise RegistryError(
            f"there is no registered model {name!r} (there are: {known}): check the target's name; `nas pipeline` "
            "creates the model when it registers a target whose gates are green"
        ) from None
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    tags = sorted((key, value) for key, value in model.tags.items() if key.startswith(_EVENT))
    events = tuple(PromotionEvent(**json.loads(value)) for _, value in tags)
    champion, candidate, previous = (aliases.get(alias, "") for alias in (CHAMPION, CANDIDATE, PREVIOUS))
    return AliasState(name, champion, candidate, previous, events)


def get_version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    """Returns one version of a registered model.

    Raises:
        RegistryError: There is no version with that number; the message lists those that exist.
    """
    numbers = [str(known.version) for known in client.search_model_versions(f"name = '{name}'")]
    if version not in numbers:
        listed = ", ".join(sorted(numbers, key=int)) or "none"
        raise RegistryError(f"{name} has no version {version}; it has: {listed}")
    return client.get_model_version(name, version)  # with its aliases, which a search does not return


def write_event(client: MlflowClient, name: str, event: PromotionEvent) -> None:
    """Adds an event to the history of a registered model."""
    client.set_registered_model_tag(name, _EVENT + event.key, canonical_json(event.to_json()))


def write_gate_results(
    client: MlflowClient, version: ModelVersion, path: str, gates: Sequence[GateResult], more: dict[str, Any]
) -> None:
    """Writes gate results: a file `path` among the artefacts of the version's run, and one tag of the version per gate.

    Raises:
        RegistryError: The version has no run.
    """
    if not version.run_id:
        raise RegistryError(f"{version.name} version {version.version} has no run to which results can be written")
    client.log_dict(version.run_id, {**more, "gates": [gate.to_json() for gate in gates]}, path)
    for gate in gates:
        text = f"{'pass' if gate.passed else 'fail'}: {format_figure(gate.figure)} (bound {format_figure(gate.bound)})"
        client.set_model_version_tag(version.name, version.version, _GATE + gate.gate, text)


def truncate_summary(text: str) -> str:
    """Returns a summary that is short enough for an event."""
    return text if len(text) <= _SUMMARY_CHARACTERS else text[:_SUMMARY_CHARACTERS] + " ..."
