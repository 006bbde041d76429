"""`nas registry rebuild`: reads the bundles, the signed releases and the journal, and believes only what fits together.

A bundle counts where its digest is in the journal (whose head is signed) and its files have the hashes that the digest
is made of. Aliases `champion` and `canary` come from the signed releases alone.
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
from nas_pipeline.fleet.rollout.reconcile import models, reconcile, wanted
from nas_pipeline.fleet.tuf.journal import Entry
from nas_pipeline.fleet.tuf.publish import RECORD
from nas_pipeline.fleet.tuf.registry_backup import kept
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.registry.evidence import evidence_digest
from nas_pipeline.registry.onnx_model import EVIDENCE
from nas_pipeline.registry.rebuild import StoredModel, StoredVersion, rebuild_model
from nas_pipeline.registry.tags import EVIDENCE_SHA256


def rebuild(repository: Repository, root: Path, *, who: str, tracking_uri: str | None = None) -> list[str]:
    """Make the registry again as far as it was published; returns what was done, in words. Twice is once.

    Raises:
        FleetError: The journal or the signed files are not to be trusted.
        RegistryError: The registry is in use and says something else.
        TrackingUnavailable: MLflow does not answer.
    """
    repository.see_journal(repository.trusted())
    done = []
    for target, model in models(repository):
        found = read_kept(repository, target, model)
        done += [f"{model}: {line}" for line in found.left_out]
        done += [f"{model}: {line}" for line in rebuild_model(root, found, tracking_uri=tracking_uri)]
    return done + reconcile(repository, root, who=who, tracking_uri=tracking_uri)


def read_kept(repository: Repository, target: str, model: str) -> StoredModel:
    """Everything that the store has of one model, checked."""
    entries = [entry for entry in repository.journal.entries() if entry.model == model]
    goal = wanted(model, repository.rows(target, model), entries)
    said, versions, left_out = kept(repository.store, model), {}, []
    for entry in entries:
        if entry.kind != "published" or int(entry.version) in versions:
            continue
        try:
            versions[int(entry.version)] = _version(repository, entry, said)
        except FleetError as error:
            left_out.append(str(error))
    numbers = [int(number) for number in said.get("versions", {})]
    aliases = {**said.get("aliases", {}), "champion": goal.champion, "canary": goal.canary}
    tags = {"target": target, **said.get("tags", {})}
    return StoredModel(
        model, tuple(versions[number] for number in sorted(versions)), max([0, *versions, *numbers]), tags,
        {alias: version for alias, version in aliases.items() if version}, str(said.get("description", "")),
        str(tags.get("experiment", "")), tuple(left_out),
    )


def _version(repository: Repository, entry: Entry, said: Mapping[str, Any]) -> StoredVersion:
    store, folder = repository.store, f"bundles/{entry.bundle}"
    names = [name.removeprefix(f"{folder}/") for name in store.list(folder)]
    content = {name: store.read(f"{folder}/{name}") or b"" for name in names}
    files = {name: each for name, each in content.items() if name == MODEL_FILE or name.startswith(f"{EVIDENCE}/")}
    try:
        record: dict[str, Any] = json.loads(content[RECORD])
        record = {**record, **said.get("versions", {}).get(entry.version, {})}
        bundle = ModelBundle.from_json(json.loads(files[f"{EVIDENCE}/bundle.json"]))
        sealed = evidence_digest({name.partition("/")[2]: each for name, each in files.items() if "/" in name})
        whole = (
            bundle.digest == entry.bundle and bundle.files[MODEL_FILE] == entry.sha256
            and hashlib.sha256(files[MODEL_FILE]).hexdigest() == entry.sha256
            and record["tags"].get("bundle.digest") == entry.bundle and record["tags"].get(EVIDENCE_SHA256) == sealed
        )
    except (KeyError, ValueError, TypeError, AttributeError, NasError) as error:
        raise FleetError(f"version {entry.version}: {folder} is not whole ({type(error).__name__}: {error})") from error
    if not whole:
        raise FleetError(f"version {entry.version}: {folder} is not what was published (bundle {entry.bundle[:12]}, "
                         f"file {entry.sha256[:12]} in the journal)")
    run_files = {name.removeprefix("run/"): each for name, each in content.items() if name.startswith("run/")}
    return StoredVersion(int(entry.version), entry.bundle, files, run_files, record)
