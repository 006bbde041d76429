"""Keeps beside the bundles what the registry says of them, so that it can be made again without its database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_agent.contract.wire import check_name
from nas_pipeline.core.files import canonical_json
from nas_pipeline.fleet.tuf.store import Store
from nas_pipeline.registry.backup import read_backup


def keep(store: Store, root: Path, model: str, *, tracking_uri: str | None = None) -> None:
    """Write it where it differs from what lies there.

    Raises:
        StorageError: The store does not take it.
        RegistryError: There is no such model.
        TrackingUnavailable: MLflow does not answer.
    """
    found = read_backup(root, model, tracking_uri=tracking_uri)
    wanted = {name_of(model): canonical_json(found.content).encode()}
    for digest, files in found.files.items():
        if store.exists(f"bundles/{digest}/version.json"):  # only what was published is kept with its files
            wanted |= {f"bundles/{digest}/run/{path}": content for path, content in files.items()}
    for name, content in wanted.items():
        if store.read(name) != content:
            store.write(name, content)


def kept(store: Store, model: str) -> dict[str, Any]:
    """What was kept of a model last; empty where nothing was."""
    content = store.read(name_of(model))
    return {} if content is None else json.loads(content)


def name_of(model: str) -> str:
    """Name in the store."""
    return f"bundles/{check_name('model', model)}.json"
