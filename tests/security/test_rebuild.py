"""Loss of the MLflow database: the registry is rebuilt from bundles, signed releases and journal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nas_pipeline.core.files import canonical_json
from nas_pipeline.errors import PromotionRefusal, RegistryError
from nas_pipeline.fleet.rollout.rebuild import read_model_backup, rebuild
from nas_pipeline.fleet.rollout.reconcile import reconcile, update_registry
from nas_pipeline.fleet.tuf import operations
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.publish import publish
from nas_pipeline.fleet.tuf.releases import widened
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.registry.aliases import AliasState, read_alias_state
from nas_pipeline.registry.promote import promote, rollback
from nas_pipeline.registry.publish import PublishedRun
from tests.unit.fleet.toy_releases import new_fleet, sign_list
from tests.unit.registry.conftest import shared, store, workspace
from tests.unit.registry.versions import Versions

__all__ = ["shared", "store", "workspace"]  # fixtures
TARGET = "lost"


@pytest.fixture
def versions(tmp_path: Path, workspace: Path, shared: tuple[Path, PublishedRun], store: str) -> Versions:
    """A registered model in a database of its own: a copy of the session's, that may be lost."""
    copy = tmp_path / "tracking" / "mlflow.db"
    copy.parent.mkdir()
    shutil.copyfile(store.removeprefix("sqlite:///"), copy)
    return Versions(workspace, f"sqlite:///{copy}", shared[1], TARGET)


@pytest.fixture
def fleet(tmp_path: Path) -> Repository:
    return new_fleet(tmp_path, target_names=(TARGET,), waves=(5000, 10_000))


def alias_state(versions: Versions) -> AliasState:
    return read_alias_state(versions.root, TARGET, tracking_uri=versions.store)


def out(fleet: Repository, versions: Versions, version: str) -> None:
    publish(fleet, versions.root, TARGET, who="ann", version=version, tracking_uri=versions.store)


def whole(fleet: Repository, versions: Versions) -> None:
    rows = widened(fleet.release_list(TARGET, versions.model))
    sign_list(fleet, TARGET, versions.model, rows, entry=JournalEntry(
        kind="widened", when="2026-05-03T12:00:00Z", who="rollout", version=rows[0].release.version,
        counter=rows[0].release.counter, sha256=rows[0].sha256, bundle=rows[0].release.bundle, share=10_000))


def aligned(fleet: Repository, versions: Versions) -> list[str]:
    return update_registry(fleet, versions.root, TARGET, versions.model, who="rollout", tracking_uri=versions.store)


def test_the_registry_is_made_again_and_goes_on(fleet: Repository, versions: Versions) -> None:
    first = versions.add(wrong=set(range(0, 3000, 33)))
    out(fleet, versions, first)
    assert versions.aliases["canary"] == first
    whole(fleet, versions)
    assert aligned(fleet, versions) == [f"{versions.model}: canary: {first} -> none",
                                        f"{versions.model}: champion: none -> {first}"]
    assert aligned(fleet, versions) == [], "twice is once"
    never = versions.add(wrong=set(range(0, 3000, 15)))
    with pytest.raises(PromotionRefusal, match="not_worse"):
        promote(versions.root, TARGET, who="bob", why="try", tracking_uri=versions.store)
    second = versions.add(wrong=set(range(0, 3000, 300)))
    promote(versions.root, TARGET, who="bob", why="better", tracking_uri=versions.store)
    out(fleet, versions, second)
    aligned(fleet, versions)
    assert (alias_state(versions).champion, versions.aliases["canary"]) == (first, second), "as in the signed list"
    whole(fleet, versions)
    aligned(fleet, versions)
    third = versions.add(wrong=set(range(0, 3000, 301)))
    out(fleet, versions, third)
    aligned(fleet, versions)
    before, aliases = alias_state(versions), versions.aliases
    assert aliases == {"candidate": third, "champion": second, "previous": first, "canary": third}
    tags = {number: versions.tags(number) for number in (first, second, third)}

    lost = Path(versions.store.removeprefix("sqlite:///")).parent
    shutil.rmtree(lost)
    versions.store = f"sqlite:///{lost.with_name('fresh') / 'mlflow.db'}"  # this process still has the old one open
    lost.with_name("fresh").mkdir()
    done = rebuild(fleet, versions.root, who="ann", tracking_uri=versions.store)
    assert f"{versions.model}: version {never} is omitted: the store has no bundle of it" in done
    versions.client = MlflowClient(tracking_uri=versions.store)
    assert alias_state(versions) == before
    assert versions.aliases == aliases
    assert {number: versions.tags(number) for number in tags} == tags
    assert rebuild(fleet, versions.root, who="ann", tracking_uri=versions.store) == []

    versions.published = PublishedRun(**{**versions.published.to_json(), "experiment_id": str(
        versions.client.get_experiment_by_name(versions.published.experiment).experiment_id)})
    assert versions.add(wrong=set(range(0, 3000, 500))) == "5"
    done = promote(versions.root, TARGET, who="bob", why="on", version=third, tracking_uri=versions.store)
    assert (done.version, done.before) == (third, second)
    assert rollback(versions.root, TARGET, who="bob", why="back", tracking_uri=versions.store).version == second
    assert rollback(versions.root, TARGET, who="bob", why="again", tracking_uri=versions.store).version == first


def test_reconcile_repairs_in_one_run(fleet: Repository, versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = versions.add(wrong=set(range(0, 3000, 33))), versions.add(wrong=set(range(0, 3000, 300)))
    out(fleet, versions, first)
    whole(fleet, versions)
    versions.client.set_registered_model_alias(versions.model, "canary", second)  # a wrong alias, set by hand
    write = type(fleet.store).write

    def cut(store: object, name: str, content: bytes) -> None:
        if name == "metadata/timestamp.json":
            raise KeyboardInterrupt
        write(store, name, content)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(fleet.store), "write", cut)
        with pytest.raises(KeyboardInterrupt):
            out(fleet, versions, second)
    assert [row.release.version for row in fleet.release_list(TARGET, versions.model)] == [first]
    done = reconcile(fleet, versions.root, tracking_uri=versions.store)
    assert f"{versions.model}: the interrupted publication of version {second} is complete" in done
    assert f"{versions.model}: champion: none -> {first}" in done
    assert versions.aliases == {"candidate": second, "champion": first, "canary": second}
    assert reconcile(fleet, versions.root, tracking_uri=versions.store) == []
    operations.rollback(fleet, TARGET, versions.model, who="ann", why="worse in the field")
    assert len(aligned(fleet, versions)) == 3
    assert versions.aliases == {"champion": first}
    assert versions.tags(second)["promotion.withdrawn"] == "worse in the field"
    before = alias_state(versions)
    versions.client.set_registered_model_alias(versions.model, "champion", second)
    reconcile(fleet, versions.root, tracking_uri=versions.store)
    assert alias_state(versions) == before, "an alias that was moved by hand is moved back"


def test_a_champion_that_the_field_refuses_goes_back_with_its_history(fleet: Repository, versions: Versions) -> None:
    first, second = versions.add(wrong=set(range(0, 3000, 33))), versions.add(wrong=set(range(0, 3000, 300)))
    for version in (first, second):
        out(fleet, versions, version)
        whole(fleet, versions)
        aligned(fleet, versions)
    assert versions.aliases == {"candidate": second, "champion": second, "previous": first}
    operations.rollback(fleet, TARGET, versions.model, who="ann", why="worse in the field")
    aligned(fleet, versions)
    assert versions.aliases == {"champion": first}
    last = alias_state(versions).events[-1]
    assert (last.kind, last.version, last.before, last.why) == ("rolled back", first, second, "worse in the field")


def test_a_bundle_that_was_changed_is_left_out(fleet: Repository, versions: Versions) -> None:
    first = versions.add(wrong=set(range(0, 3000, 33)))
    out(fleet, versions, first)
    whole(fleet, versions)
    aligned(fleet, versions)
    digest = fleet.release_list(TARGET, versions.model)[0].release.bundle
    for name, change in (("model.onnx", b"other bytes"), ("evidence/gates.json", b"[]"), ("evidence/more.txt", b"x")):
        place = f"bundles/{digest}/{name}"
        kept = fleet.store.read(place)
        fleet.store.write(place, change)
        found = read_model_backup(fleet, TARGET, versions.model)
        assert found.versions == ()
        assert "is not what was published" in found.left_out[0]
        fleet.store.write(place, kept or b"")
        if kept is None:
            Path(fleet.settings.store, place).unlink()
    record = json.loads(fleet.store.read(f"bundles/{versions.model}.json") or b"")
    record["aliases"]["champion"] = "7"
    fleet.store.write(f"bundles/{versions.model}.json", canonical_json(record).encode())
    backup = read_model_backup(fleet, TARGET, versions.model)
    assert backup.aliases["champion"] == first, "only the signed list says that"
    other = versions.add(wrong=set(range(0, 3000, 300)))
    another = versions.tags(other)["bundle.digest"]
    versions.client.set_model_version_tag(versions.model, first, "bundle.digest", another)
    with pytest.raises(RegistryError, match="of another bundle"):
        rebuild(fleet, versions.root, who="ann", tracking_uri=versions.store)
