"""Rebuilds the registry from the bundles, the signed releases and the journal (`nas registry rebuild`).

A bundle is used if its digest is in the journal, whose head is signed, and its files match the digest. The aliases
`champion` and `canary` come from the signed releases only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_pipeline.core.records import ModelBundle
from nas_pipeline.errors import FleetError, NasError
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.fleet.rollout.reconcile import published_models, reconcile, target_aliases
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.publish import RECORD
from nas_pipeline.fleet.tuf.registry_backup import read_registry_backup
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.registry.evidence import evidence_digest
from nas_pipeline.registry.onnx_model import EVIDENCE
from nas_pipeline.registry.rebuild import StoredModel, StoredVersion, rebuild_model
from nas_pipeline.registry.tags import EVIDENCE_SHA256


def rebuild(repository: Repository, root: Path, *, who: str, tracking_uri: str | None = None) -> list[str]:
    """Rebuilds the registry entries of all published versions. Idempotent.

    Returns:
        The changes, as text; empty if nothing was missing.

    Raises:
        FleetError: The journal or the signed files are not to be trusted.
        RegistryError: The registry is in use and has different contents.
        TrackingUnavailable: MLflow does not respond.
    """
    repository.verify_journal(repository.trusted())
    done = []
    for target, model in published_models(repository):
        backup = read_model_backup(repository, target, model)
        done += [f"{model}: {line}" for line in backup.left_out]
        done += [f"{model}: {line}" for line in rebuild_model(root, backup, tracking_uri=tracking_uri)]
    return done + reconcile(repository, root, who=who, tracking_uri=tracking_uri)


def read_model_backup(repository: Repository, target: str, model: str) -> StoredModel:
    """Reads and verifies everything that the store contains about one model."""
    entries = [entry for entry in repository.journal.entries() if entry.model == model]
    goal = target_aliases(model, repository.release_list(target, model), entries)
    record, versions, left_out = read_registry_backup(repository.store, model), {}, []
    for entry in entries:
        if entry.kind != "published" or int(entry.version) in versions:
            continue
        try:
            versions[int(entry.version)] = _version(repository, entry, record)
        except FleetError as error:
            left_out.append(str(error))
    numbers = [int(number) for number in record.get("versions", {})]
    aliases = {**record.get("aliases", {}), "champion": goal.champion, "canary": goal.canary}
    tags = {"target": target, **record.get("tags", {})}
    return StoredModel(
        model, tuple(versions[number] for number in sorted(versions)), max([0, *versions, *numbers]), tags,
        {alias: version for alias, version in aliases.items() if version}, str(record.get("description", "")),
        str(tags.get("experiment", "")), tuple(left_out),
    )


def _version(repository: Repository, entry: JournalEntry, registered: Mapping[str, Any]) -> StoredVersion:
    store, folder = repository.store, f"bundles/{entry.bundle}"
    names = [name.removeprefix(f"{folder}/") for name in store.list(folder)]
    content = {name: store.read(f"{folder}/{name}") or b"" for name in names}
    files = {name: data for name, data in content.items() if name == MODEL_FILE or name.startswith(f"{EVIDENCE}/")}
    try:
        record: dict[str, Any] = json.loads(content[RECORD])
        record = {**record, **registered.get("versions", {}).get(entry.version, {})}
        bundle = ModelBundle.from_json(json.loads(files[f"{EVIDENCE}/bundle.json"]))
        digest = evidence_digest({name.partition("/")[2]: data for name, data in files.items() if "/" in name})
        valid = (
            bundle.digest == entry.bundle and bundle.files[MODEL_FILE] == entry.sha256
            and hashlib.sha256(files[MODEL_FILE]).hexdigest() == entry.sha256
            and record["tags"].get("bundle.digest") == entry.bundle and record["tags"].get(EVIDENCE_SHA256) == digest
        )
    except (KeyError, ValueError, TypeError, AttributeError, NasError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise FleetError(f"version {entry.version}: {folder} is incomplete or invalid ({reason})") from error
    if not valid:
        raise FleetError(f"version {entry.version}: {folder} is not what was published (bundle {entry.bundle[:12]}, "
                         f"file {entry.sha256[:12]} in the journal)")
    run_files = {name.removeprefix("run/"): data for name, data in content.items() if name.startswith("run/")}
    return StoredVersion(int(entry.version), entry.bundle, files, run_files, record)
