"""Registers published networks in the model registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_pipeline.registry.publish import PublishedRun
from nas_pipeline.registry.register import Registered, register


def register_target(root: Path, target: str, published: Mapping[str, Any]) -> Registered:
    """Registers the network of one target under the alias `candidate`.

    Args:
        root: The workspace.
        target: Name of the target.
        published: `PublishedRun.to_json()` of the run that contains the network.

    Raises:
        GateRefusal: A verification gate is red, or the latency was not measured on the target.
        RegistryError: The target was not published, or has changed since.
        TrackingUnavailable: MLflow does not respond.
    """
    return register(root, target, published=PublishedRun.from_json(dict(published)))
