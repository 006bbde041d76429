"""MLflow's database is lost: bundles, signed releases and journal make the registry again, and it works on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nas_pipeline.fleet.journal import Entry
from nas_pipeline.fleet.publish import publish
from nas_pipeline.fleet.rebuild import rebuild
from nas_pipeline.fleet.reconcile import show
from nas_pipeline.fleet.releases import widened
from nas_pipeline.fleet.repository import Repository
from nas_pipeline.registry.promote import promote, rollback
from nas_pipeline.registry.publish import Published
from nas_pipeline.registry.standing import Standing, history
from tests.unit.fleet.toy_releases import new_fleet
from tests.unit.registry.conftest import shared, store, workspace
from tests.unit.registry.versions import Versions

__all__ = ["shared", "store", "workspace"]  # fixtures
TARGET = "lost"


@pytest.fixture
def versions(tmp_path: Path, workspace: Path, shared: tuple[Path, Published], store: str) -> Versions:
    """A registered model in a database of its own: a copy of the session's, that may be lost."""
    copy = tmp_path / "tracking" / "mlflow.db"
    copy.parent.mkdir()
    shutil.copyfile(store.removeprefix("sqlite:///"), copy)
    return Versions(workspace, f"sqlite:///{copy}", shared[1], TARGET)


@pytest.fixture
def fleet(tmp_path: Path) -> Repository:
    return new_fleet(tmp_path, families=(TARGET,), waves=(5000, 10_000))


def told(versions: Versions) -> Standing:
    return history(versions.root, TARGET, tracking_uri=versions.store)


def out(fleet: Repository, versions: Versions, version: str) -> None:
    publish(fleet, versions.root, TARGET, who="ann", version=version, tracking_uri=versions.store)


def whole(fleet: Repository, versions: Versions) -> None:
    rows = widened(fleet.rows(TARGET, versions.model))
    fleet.release(TARGET, versions.model, rows, entry=Entry(
        kind="widened", when="2026-05-03T12:00:00Z", who="rollout", version=rows[0].release.version,
        counter=rows[0].release.counter, sha256=rows[0].sha256, bundle=rows[0].release.bundle, share=10_000))


def aligned(fleet: Repository, versions: Versions) -> list[str]:
    return show(fleet, versions.root, TARGET, versions.model, who="rollout", tracking_uri=versions.store)


def test_the_registry_is_made_again_and_goes_on(fleet: Repository, versions: Versions) -> None:
    first = versions.add(wrong=set(range(0, 3000, 33)))
    out(fleet, versions, first)
    assert versions.aliases["canary"] == first
    whole(fleet, versions)
    assert aligned(fleet, versions) == [f"{versions.model}: canary: {first} -> none",
                                        f"{versions.model}: champion: none -> {first}"]
    assert aligned(fleet, versions) == [], "twice is once"
    never = versions.add(wrong=set(range(0, 3000, 15)))
    with pytest.raises(Exception, match="not_worse"):
        promote(versions.root, TARGET, who="bob", why="try", tracking_uri=versions.store)
    second = versions.add(wrong=set(range(0, 3000, 300)))
    promote(versions.root, TARGET, who="bob", why="better", tracking_uri=versions.store)
    out(fleet, versions, second)
    aligned(fleet, versions)
    assert (told(versions).champion, versions.aliases["canary"]) == (first, second), "the signed list is the truth"
    whole(fleet, versions)
    aligned(fleet, versions)
    third = versions.add(wrong=set(range(0, 3000, 301)))
    out(fleet, versions, third)
    aligned(fleet, versions)
    before, aliases = told(versions), versions.aliases
    assert aliases == {"candidate": third, "champion": second, "previous": first, "canary": third}
    tags = {number: versions.tags(number) for number in (first, second, third)}

    lost = Path(versions.store.removeprefix("sqlite:///")).parent
    shutil.rmtree(lost)
    versions.store = f"sqlite:///{lost.with_name('fresh') / 'mlflow.db'}"  # this process has the old one open still
    lost.with_name("fresh").mkdir()
    done = rebuild(fleet, versions.root, who="ann", tracking_uri=versions.store)
    assert f"{versions.model}: version {never} is left out: no bundle of it is in the store" in done
    versions.client = MlflowClient(tracking_uri=versions.store)
    assert told(versions) == before
    assert versions.aliases == aliases
    assert {number: versions.tags(number) for number in tags} == tags
    assert rebuild(fleet, versions.root, who="ann", tracking_uri=versions.store) == []

    versions.published = Published(**{**versions.published.to_json(), "experiment_id": str(
        versions.client.get_experiment_by_name(versions.published.experiment).experiment_id)})
    assert versions.add(wrong=set(range(0, 3000, 500))) == "5"
    done = promote(versions.root, TARGET, who="bob", why="on", version=third, tracking_uri=versions.store)
    assert (done.version, done.before) == (third, second)
    assert rollback(versions.root, TARGET, who="bob", why="back", tracking_uri=versions.store).version == second
    assert rollback(versions.root, TARGET, who="bob", why="again", tracking_uri=versions.store).version == first
