"""Who is champion, who was, and why: aliases and events of a registered model, as MLflow keeps them.

Events are tags of the registered model; the answers of the gates lie in the version's run. The alias `champion` alone
says what is in use; it is one value in one row, so it is the old version or the new one, never neither.
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
from nas_pipeline.gates.promotion import shown
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.history import Event, in_use
from nas_pipeline.registry.register import CANDIDATE, CHAMPION, model_name
from nas_pipeline.registry.results import read_dataset

PREVIOUS = "previous"
_EVENT = "promotion.event."
_GATE = "promotion.gate."
_SUMMARY_CHARACTERS = 1500  # with the rest of an event, well below MLflow's 5000 for a tag of a model


@dataclass(frozen=True, slots=True)
class Standing:
    """A registered model at one moment."""

    model: str
    champion: str
    """Its version; empty where there is none."""
    candidate: str
    previous: str
    events: tuple[Event, ...]
    """Oldest first."""

    @property
    def in_use(self) -> list[str]:
        """Champions that a rollback would go back through, oldest first; the last one is in use now."""
        return in_use(self.events, self.champion)


def history(root: Path, target: str, *, tracking_uri: str | None = None) -> Standing:
    """What happened to the model of `target`.

    Raises:
        RegistryError: Nothing was registered for it.
        TrackingUnavailable: MLflow does not answer.
    """
    name = model_name(read_dataset(root).name, target)
    with tracking(root, tracking_uri) as client:
        return read_standing(client, name)


def read_standing(client: MlflowClient, name: str) -> Standing:
    """The aliases and events of a registered model.

    Raises:
        RegistryError: There is no such model.
    """
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = ", ".join(sorted(each.name for each in client.search_registered_models())) or "none"
        raise RegistryError(
            f"there is no registered model {name!r} (there are: {known}): check the target's name; a model appears "
            "when `nas pipeline` registers a target whose gates are green"
        ) from None
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    tags = sorted((key, value) for key, value in model.tags.items() if key.startswith(_EVENT))
    events = tuple(Event(**json.loads(value)) for _, value in tags)
    champion, candidate, previous = (aliases.get(alias, "") for alias in (CHAMPION, CANDIDATE, PREVIOUS))
    return Standing(name, champion, candidate, previous, events)


def get_version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    """One version.

    Raises:
        RegistryError: There is none of that number; the message lists those that exist.
    """
    known = client.search_model_versions(f"name = '{name}'")
    found = next((each for each in known if str(each.version) == version), None)
    if found is None:
        numbers = ", ".join(sorted((str(each.version) for each in known), key=int)) or "none"
        raise RegistryError(f"{name} has no version {version}; it has: {numbers}")
    return client.get_model_version(name, version)  # with its aliases, which a search leaves out


def write_event(client: MlflowClient, name: str, event: Event) -> None:
    """Add to the history."""
    client.set_registered_model_tag(name, _EVENT + event.key, canonical_json(event.to_json()))


def write_answers(
    client: MlflowClient, version: ModelVersion, path: str, gates: Sequence[GateResult], more: dict[str, Any]
) -> None:
    """Keep the answers of the gates: a file `path` among the artefacts of the version's run, and a tag for each gate.

    Raises:
        RegistryError: The version was made without a run.
    """
    if not version.run_id:
        raise RegistryError(f"{version.name} version {version.version} has no run to keep evidence in")
    client.log_dict(version.run_id, {**more, "gates": [gate.to_json() for gate in gates]}, path)
    for gate in gates:
        answer = f"{'pass' if gate.passed else 'fail'}: {shown(gate.figure)} (bound {shown(gate.bound)})"
        client.set_model_version_tag(version.name, version.version, _GATE + gate.gate, answer)


def shortened(text: str) -> str:
    """A summary that fits in an event."""
    return text if len(text) <= _SUMMARY_CHARACTERS else text[:_SUMMARY_CHARACTERS] + " ..."
