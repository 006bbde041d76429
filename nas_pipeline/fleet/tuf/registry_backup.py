"""A backup of the registry's data in the store, from which `nas registry rebuild` restores the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_agent.contract.wire import check_name
from nas_pipeline.core.files import canonical_json
from nas_pipeline.fleet.tuf.store import Store
from nas_pipeline.registry.backup import read_backup


def write_registry_backup(store: Store, root: Path, model: str, *, tracking_uri: str | None = None) -> None:
    """Writes the files of a model's backup that differ from those in the store.

    Raises:
        StorageError: A file cannot be written.
        RegistryError: There is no such model.
        TrackingUnavailable: The tracking server does not respond.
    """
    backup = read_backup(root, model, tracking_uri=tracking_uri)
    wanted = {backup_name(model): canonical_json(backup.content).encode()}
    for digest, files in backup.files.items():
        if store.exists(f"bundles/{digest}/version.json"):  # run files are stored for published versions only
            wanted |= {f"bundles/{digest}/run/{path}": content for path, content in files.items()}
    for name, content in wanted.items():
        if store.read(name) != content:
            store.write(name, content)


def read_registry_backup(store: Store, model: str) -> dict[str, Any]:
    """Returns the latest backup of a model; empty if there is none."""
    content = store.read(backup_name(model))
    return {} if content is None else json.loads(content)


def backup_name(model: str) -> str:
    """Returns the name of a model's backup in the store."""
    return f"bundles/{check_name('model', model)}.json"
