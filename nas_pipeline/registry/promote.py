"""Makes a version champion, or goes back to the one before. The alias `champion` is moved last of all.

Whatever is interrupted leaves the old champion in use: evidence and history may then tell of an attempt that did not
come about, and the same command carries it out. A promotion that is done already is left as it is.
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
from nas_pipeline.gates.challenger import InUse
from nas_pipeline.gates.policy import Policy, find_policy, read_policy
from nas_pipeline.gates.promotion import promotion_gates, seal_gates, told
from nas_pipeline.registry.aliases import (
    PREVIOUS,
    Standing,
    get_version,
    read_standing,
    shortened,
    write_answers,
    write_event,
)
from nas_pipeline.registry.connection import tracking
from nas_pipeline.registry.connection import tracking_uri as uri_of
from nas_pipeline.registry.evidence import download, read_contender, read_in_use, seal
from nas_pipeline.registry.history import Event, Kind
from nas_pipeline.registry.register import CANDIDATE, CHAMPION, model_name
from nas_pipeline.registry.results import read_dataset
from nas_pipeline.registry.tags import WITHDRAWN

logger = logging.getLogger(__name__)

_WHY_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Promoted:
    """What is in use now."""

    model: str
    version: str
    before: str
    """The champion until now; empty where there was none."""
    changed: bool
    """False where it was champion already."""
    gates: tuple[GateResult, ...]
    """Empty where nothing was asked."""


def promote(
    root: Path, target: str, *, who: str, why: str, version: str | None = None, tracking_uri: str | None = None
) -> Promoted:
    """Make a version of the model of `target` its champion, if every gate of the policy is green.

    Args:
        root: The workspace: it says which data set, which policy and where MLflow is. Figures come from the version.
        target: Whose champion.
        who: For the history.
        why: For the history.
        version: Default: the candidate. One that was rolled back has to be named.
        tracking_uri: Default: MLFLOW_TRACKING_URI, else an SQLite file in `root`.

    Raises:
        PromotionRefusal: A gate is red; each is named with figure and bound. The answers are with the version.
        RegistryError: There is no such model, version or candidate, or its evidence cannot be read.
        ConfigError: The policy is wrong.
        TrackingUnavailable: MLflow does not answer.
    """
    path = find_policy(root)
    policy = read_policy(path, target)
    uri, name = uri_of(root, tracking_uri), model_name(read_dataset(root).name, target)
    with tracking(root, tracking_uri) as client:
        now = read_standing(client, name)
        number = version or now.candidate
        if not number:
            raise RegistryError(f"{name} has no candidate: name a version with --version, or register a new one")
        chosen = get_version(client, name, number)
        if now.champion == str(chosen.version):
            _set_previous(client, now, now.in_use)
            return Promoted(name, now.champion, now.champion, False, ())
        answers = answers_about(client, now, chosen, policy, uri, named=version is not None)
        red = [gate for gate in answers if not gate.passed]
        summary = told(red) if red else f"{len(answers)} gates green"
        event = _event("refused" if red else "promoted", now, chosen, who, why, summary)
        if not (red and _repeats(now, event)):
            more = {**event.to_json(), "model": name, "policy": policy.model_dump(), "policy_sha256": sha256_file(path)}
            write_answers(client, chosen, event.evidence, answers, more)
            write_event(client, name, event)
        if red:
            raise PromotionRefusal(
                f"version {chosen.version} of {name} is not promoted, {len(red)} of {len(answers)} gates "
                f"{'is' if len(red) == 1 else 'are'} red: {told(red)}. "
                f"{f'Version {now.champion} stays champion' if now.champion else 'There is still no champion'}"
            )
        if version is not None and WITHDRAWN in chosen.tags:
            client.delete_model_version_tag(name, chosen.version, WITHDRAWN)
        _set_previous(client, now, [*now.in_use, str(chosen.version)])
        _move(client, now, chosen)
    logger.info("%s: version %s is champion", name, chosen.version)
    return Promoted(name, str(chosen.version), now.champion, True, tuple(answers))


def rollback(root: Path, target: str, *, who: str, why: str, tracking_uri: str | None = None) -> Promoted:
    """Make the champion before this one champion again. The version that was in use is marked as withdrawn.

    Its gates were green when it was promoted and are not asked again; only that its files are still the same.

    Raises:
        PromotionRefusal: The stored files of the earlier champion are not those that were registered.
        RegistryError: There is no champion, or none before it.
        TrackingUnavailable: MLflow does not answer.
    """
    uri, name = uri_of(root, tracking_uri), model_name(read_dataset(root).name, target)
    with tracking(root, tracking_uri) as client:
        now = read_standing(client, name)
        if len(now.in_use) < 2:
            raise RegistryError(
                f"{name} cannot be rolled back: there is no champion before version {now.champion}" if now.champion
                else f"{name} cannot be rolled back: it has no champion"
            )
        back = get_version(client, name, now.in_use[-2])
        with tempfile.TemporaryDirectory() as folder:
            answers = seal_gates(seal(back, download(back, Path(folder), uri)))
        red = [gate for gate in answers if not gate.passed]
        if red:
            raise PromotionRefusal(f"{name} is not rolled back to version {back.version}: {told(red)}. "
                                   f"Version {now.champion} stays champion")
        write_event(client, name, _event("rolled back", now, back, who, why, f"from version {now.champion}"))
        client.set_model_version_tag(name, now.champion, WITHDRAWN, why[:_WHY_CHARACTERS] or "rolled back")
        if now.candidate == now.champion:
            client.delete_registered_model_alias(name, CANDIDATE)
        _set_previous(client, now, now.in_use[:-1])
        _move(client, now, back)
    logger.info("%s: version %s is champion again", name, back.version)
    return Promoted(name, str(back.version), now.champion, True, tuple(answers))


def answers_about(
    client: MlflowClient, now: Standing, chosen: ModelVersion, policy: Policy, uri: str, *, named: bool
) -> list[GateResult]:
    """Every gate's answer; those about the seal alone where it is broken.

    Raises:
        RegistryError: The evidence cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = download(chosen, Path(folder), uri)
        sealed = seal_gates(seal(chosen, files))
        if not all(gate.passed for gate in sealed):
            return sealed  # nothing else that these files say can be believed
        challenger = read_contender(chosen, files)
    if named:
        challenger = replace(challenger, withdrawn="")
    return [*sealed, *promotion_gates(challenger, _champion(client, now, uri), policy)]


def _champion(client: MlflowClient, now: Standing, uri: str) -> InUse | None:
    if not now.champion:
        return None
    version = get_version(client, now.model, now.champion)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return read_in_use(version, download(version, Path(folder), uri))
        except RegistryError as error:
            logger.warning("%s", error)
            return InUse(now.champion, None)


def _event(kind: Kind, now: Standing, version: ModelVersion, who: str, why: str, summary: str) -> Event:
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    path = "" if kind == "rolled back" else f"promotion/{when.replace(':', '')}.json"
    return Event(kind, when, who, why[:_WHY_CHARACTERS], str(version.version), now.champion, path,
                 str(version.run_id or ""), shortened(summary))


def _repeats(now: Standing, event: Event) -> bool:
    """The same refusal for the same reasons as last time: once in the history is enough."""
    last = now.events[-1] if now.events else None
    return last is not None and (last.kind, last.version, last.before, last.summary) == (
        event.kind, event.version, event.before, event.summary
    )


def _set_previous(client: MlflowClient, now: Standing, in_use: Sequence[str]) -> None:
    """`previous` is the champion before the last of `in_use`."""
    wanted = in_use[-2] if len(in_use) > 1 else ""
    if wanted == now.previous:
        return
    if wanted:
        client.set_registered_model_alias(now.model, PREVIOUS, wanted)
    else:
        client.delete_registered_model_alias(now.model, PREVIOUS)


def _move(client: MlflowClient, now: Standing, to: ModelVersion) -> None:
    """The last write."""
    found = client.get_registered_model(now.model).aliases.get(CHAMPION, "")
    if str(found) != now.champion:
        raise RegistryError(f"the champion of {now.model} changed from version {now.champion or 'none'} to "
                            f"{found or 'none'} meanwhile, so this was judged against another: run the command again")
    client.set_registered_model_alias(now.model, CHAMPION, to.version)
