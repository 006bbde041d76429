"""Promotes a version to champion, or rolls back to the previous champion. The alias `champion` is moved last.

An interruption leaves the old champion in use. Evidence and history may then contain an event that did not take effect;
the same command completes it. A promotion that is complete is not repeated.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from nas_pipeline.core.files import sha256_file
from nas_pipeline.core.records import GateResult
from nas_pipeline.errors import PromotionRefusal, RegistryError
from nas_pipeline.gates.challenger import ChampionPredictions
from nas_pipeline.gates.gate import all_green, describe_gates, red_gates, refusal_message
from nas_pipeline.gates.policy import Policy, find_policy, read_policy
from nas_pipeline.gates.promotion import integrity_gates, promotion_gates
from nas_pipeline.registry.aliases import (
    PREVIOUS,
    AliasState,
    get_alias_state,
    get_version,
    truncate_summary,
    write_event,
    write_gate_results,
)
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.connection import tracking_uri as uri_of
from nas_pipeline.registry.evidence import download, read_challenger, read_champion_predictions, read_integrity
from nas_pipeline.registry.history import Kind, PromotionEvent
from nas_pipeline.registry.register import CANDIDATE, CHAMPION, model_name
from nas_pipeline.registry.results import read_dataset
from nas_pipeline.registry.tags import WITHDRAWN

logger = logging.getLogger(__name__)

_WHY_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Promoted:
    """The result of a promotion or rollback."""

    model: str
    version: str
    before: str
    """The champion until then; empty where there was none."""
    changed: bool
    """False where the version was champion already."""
    gates: tuple[GateResult, ...]
    """Empty where no gate was evaluated."""


def promote(
    root: Path, target: str, *, who: str, why: str, version: str | None = None, tracking_uri: str | None = None
) -> Promoted:
    """Makes a version of the model of `target` its champion, if every gate of the policy is green.

    Args:
        root: The workspace, which determines the data set, the policy and the default of `tracking_uri`. The
            figures are those of the version.
        target: Name of the target.
        who: Who promotes; written to the history.
        why: The reason; written to the history.
        version: Default: the candidate. A version that was rolled back is promoted only if it is named here.
        tracking_uri: Default: MLFLOW_TRACKING_URI, else an SQLite file in `root`.

    Raises:
        PromotionRefusal: A gate is red; each is named with figure and bound. The results are written to the version.
        RegistryError: There is no such model, version or candidate, or its evidence cannot be read.
        ConfigError: The policy is not valid.
        TrackingUnavailable: MLflow does not respond.
    """
    path = find_policy(root)
    policy = read_policy(path, target)
    uri, name = uri_of(root, tracking_uri), model_name(read_dataset(root).name, target)
    with tracking(root, tracking_uri) as client:
        now = get_alias_state(client, name)
        number = version or now.candidate
        if not number:
            raise RegistryError(f"{name} has no candidate: select a version with --version, or register a new one")
        chosen = get_version(client, name, number)
        if now.champion == str(chosen.version):
            _set_previous(client, now, now.champion_stack)
            return Promoted(name, now.champion, now.champion, False, ())
        results = evaluate_version(client, now, chosen, policy, uri, named=version is not None)
        red = red_gates(results)
        summary = describe_gates(red) if red else f"{len(results)} gates green"
        event = _event("refused" if red else "promoted", now, chosen, who, why, summary)
        if not (red and _repeats(now, event)):
            more = {**event.to_json(), "model": name, "policy": policy.model_dump(), "policy_sha256": sha256_file(path)}
            write_gate_results(client, chosen, event.evidence, results, more)
            write_event(client, name, event)
        if red:
            subject = f"version {chosen.version} of {name} is not promoted"
            outcome = f"Version {now.champion} stays champion" if now.champion else "There is still no champion"
            raise PromotionRefusal(f"{refusal_message(subject, results)}. {outcome}")
        if version is not None and WITHDRAWN in chosen.tags:
            client.delete_model_version_tag(name, chosen.version, WITHDRAWN)
        _set_previous(client, now, [*now.champion_stack, str(chosen.version)])
        _move(client, now, chosen)
    logger.info("%s: version %s is champion", name, chosen.version)
    return Promoted(name, str(chosen.version), now.champion, True, tuple(results))


def rollback(root: Path, target: str, *, who: str, why: str, tracking_uri: str | None = None) -> Promoted:
    """Makes the previous champion champion again and marks the version that was in use as withdrawn.

    The gates of promotion were green when that version was promoted and are not evaluated again; the integrity of its
    files is.

    Raises:
        PromotionRefusal: The stored files of the earlier champion are not those that were registered.
        RegistryError: There is no champion, or no previous one.
        TrackingUnavailable: MLflow does not respond.
    """
    uri, name = uri_of(root, tracking_uri), model_name(read_dataset(root).name, target)
    with tracking(root, tracking_uri) as client:
        now = get_alias_state(client, name)
        if len(now.champion_stack) < 2:
            raise RegistryError(
                f"{name} cannot be rolled back: there is no champion before version {now.champion}" if now.champion
                else f"{name} cannot be rolled back: it has no champion"
            )
        earlier = get_version(client, name, now.champion_stack[-2])
        with tempfile.TemporaryDirectory() as folder:
            results = integrity_gates(read_integrity(earlier, download(earlier, Path(folder), uri)))
        if not all_green(results):
            message = refusal_message(f"{name} is not rolled back to version {earlier.version}", results)
            raise PromotionRefusal(f"{message}. Version {now.champion} stays champion")
        write_event(client, name, _event("rolled back", now, earlier, who, why, f"from version {now.champion}"))
        client.set_model_version_tag(name, now.champion, WITHDRAWN, why[:_WHY_CHARACTERS] or "rolled back")
        if now.candidate == now.champion:
            client.delete_registered_model_alias(name, CANDIDATE)
        _set_previous(client, now, now.champion_stack[:-1])
        _move(client, now, earlier)
    logger.info("%s: version %s is champion again", name, earlier.version)
    return Promoted(name, str(earlier.version), now.champion, True, tuple(results))


def evaluate_version(
    client: MlflowClient, now: AliasState, chosen: ModelVersion, policy: Policy, uri: str, *, named: bool
) -> list[GateResult]:
    """Returns the result of every gate; only those on the stored files where one of them is red.

    Raises:
        RegistryError: The evidence cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = download(chosen, Path(folder), uri)
        integrity = integrity_gates(read_integrity(chosen, files))
        if not all_green(integrity):
            return integrity  # the content of these files cannot be trusted
        challenger = read_challenger(chosen, files)
    if named:
        challenger = replace(challenger, withdrawn="")
    return [*integrity, *promotion_gates(challenger, _champion(client, now, uri), policy)]


def _champion(client: MlflowClient, now: AliasState, uri: str) -> ChampionPredictions | None:
    if not now.champion:
        return None
    version = get_version(client, now.model, now.champion)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return read_champion_predictions(version, download(version, Path(folder), uri))
        except RegistryError as error:
            logger.warning("%s", error)
            return ChampionPredictions(now.champion, None)


def _event(kind: Kind, now: AliasState, version: ModelVersion, who: str, why: str, summary: str) -> PromotionEvent:
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    path = "" if kind == "rolled back" else f"promotion/{when.replace(':', '')}.json"
    return PromotionEvent(kind, when, who, why[:_WHY_CHARACTERS], str(version.version), now.champion, path,
                 str(version.run_id or ""), truncate_summary(summary))


def _repeats(now: AliasState, event: PromotionEvent) -> bool:
    """Whether the last event is the same refusal for the same reasons: it is written to the history once."""
    last = now.events[-1] if now.events else None
    return last is not None and (last.kind, last.version, last.before, last.summary) == (
        event.kind, event.version, event.before, event.summary
    )


def _set_previous(client: MlflowClient, now: AliasState, champions: Sequence[str]) -> None:
    """Sets `previous` to the version before the last of `champions`."""
    previous = champions[-2] if len(champions) > 1 else ""
    if previous == now.previous:
        return
    if previous:
        client.set_registered_model_alias(now.model, PREVIOUS, previous)
    else:
        client.delete_registered_model_alias(now.model, PREVIOUS)


def _move(client: MlflowClient, now: AliasState, to: ModelVersion) -> None:
    """Moves the alias `champion`: the last write."""
    current = client.get_registered_model(now.model).aliases.get(CHAMPION, "")
    if str(current) != now.champion:
        raise RegistryError(f"the champion of {now.model} changed from version {now.champion or 'none'} to "
                            f"{current or 'none'} during this command: run the command again")
    client.set_registered_model_alias(now.model, CHAMPION, to.version)
