"""Only a target whose gates are all green becomes a model version, once, with the alias candidate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from nas_pipeline.errors import GateRefusal, RegistryError
from nas_pipeline.registry.publish import PublishedRun
from nas_pipeline.registry.register import model_name, register

Shared = tuple[Path, PublishedRun]
Edit = Callable[[str, Callable[[Any], Any]], None]


def test_green_target_becomes_the_candidate_once(shared: Shared, store: str) -> None:
    root, published = shared
    first = register(root, "local-cpu", published=published, tracking_uri=store)
    again = register(root, "local-cpu", published=published, tracking_uri=store)
    assert (first.model, first.version, first.created) == ("toy-set--local-cpu", "1", True)
    assert (again.version, again.created) == ("1", False)
    client = MlflowClient(tracking_uri=store)
    version = client.get_model_version_by_alias(first.model, "candidate")
    assert version.version in {1, "1"}
    assert version.tags["gate.latency"] == "pass: 1.2 (bound 2)"
    assert version.tags["bundle.digest"] == first.bundle_digest
    assert version.tags["pipeline.run_key"] == published.run_key
    assert len(client.search_model_versions(f"name = '{first.model}'")) == 1


def test_a_version_with_a_later_alias_does_not_become_candidate_again(shared: Shared, store: str) -> None:
    root, published = shared
    version = register(root, "local-cpu", published=published, tracking_uri=store)
    client = MlflowClient(tracking_uri=store)
    client.set_registered_model_alias(version.model, "champion", version.version)
    client.delete_registered_model_alias(version.model, "candidate")
    register(root, "local-cpu", published=published, tracking_uri=store)
    assert client.get_model_version(version.model, version.version).aliases == ["champion"]
    client.delete_registered_model_alias(version.model, "champion")


def test_red_target_is_refused_and_every_gate_is_named(shared: Shared, store: str) -> None:
    root, published = shared
    named = r"latency 1\.2 \(bound 1\): too slow; evidence proxy \(bound measured\)"
    with pytest.raises(GateRefusal, match=named):
        register(root, "raspberry-pi-4", published=published, tracking_uri=store)
    assert not MlflowClient(tracking_uri=store).search_registered_models("name = 'toy-set--raspberry-pi-4'")


@pytest.mark.parametrize(
    ("name", "change", "gate"),
    [
        ("latency.json", lambda latency: {**latency, "evidence": "proxy"}, "evidence"),
        ("latency.json", lambda latency: {**latency, "evidence": "predicted"}, "evidence"),
        ("latency.json", lambda latency: {**latency, "model_sha256": "0" * 64}, "measured_file"),
        ("gates.json", lambda _: [], "gates"),
    ],
)
def test_green_gates_alone_are_not_enough(
    edit: Edit, workspace: Path, shared: Shared, store: str, name: str, change: Callable[[Any], Any], gate: str
) -> None:
    edit(f"verify/local-cpu/{name}", change)
    with pytest.raises(GateRefusal, match=gate):
        register(workspace, "local-cpu", published=shared[1], tracking_uri=store)


def test_a_bundle_that_is_not_the_published_one_is_refused(
    edit: Edit, workspace: Path, shared: Shared, store: str
) -> None:
    published = shared[1]
    swapped = replace(published, models={"local-cpu": "m-" + "0" * 32})
    with pytest.raises(RegistryError):
        register(workspace, "local-cpu", published=swapped, tracking_uri=store)
    with pytest.raises(RegistryError, match="not in the published run"):
        register(workspace, "local-cpu", published=replace(published, models={}), tracking_uri=store)


@pytest.mark.parametrize("target", ["pi.4", "a/b", ""])
def test_names(target: str) -> None:
    if target:
        with pytest.raises(RegistryError, match="registered model"):
            model_name("toy", target)
    else:
        assert model_name("toy", "pi-4") == "toy--pi-4"
