"""A worse version is refused, a better one promoted, a rollback restores; nothing in between can lose the champion."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from nas_pipeline.core.predictions import Predictions
from nas_pipeline.errors import ConfigError, PromotionRefusal, RegistryError
from nas_pipeline.registry.aliases import Standing, history
from nas_pipeline.registry.history import came_about
from nas_pipeline.registry.promote import Promoted, promote, rollback
from nas_pipeline.registry.publish import Published
from tests.unit.gates.toy_versions import predictions
from tests.unit.registry.versions import Versions

Make = Callable[[str], Versions]
MODERATE = set(range(0, 3000, 33))
BETTER = set(range(0, 3000, 300))
WORSE = set(range(0, 3000, 15))


@pytest.fixture
def make(tmp_path: Path, shared: tuple[Path, Published], store: str) -> Make:
    """The registered model of a target of that name, without versions yet."""
    root = Path(shutil.copytree(shared[0], tmp_path / "workspace"))
    return lambda target: Versions(root, store, shared[1], target)


def up(versions: Versions, version: str | None = None, why: str = "") -> Promoted:
    return promote(
        versions.root, versions.target, version=version, who="ann", why=why, tracking_uri=versions.store
    )


def back(versions: Versions, why: str = "") -> Promoted:
    return rollback(versions.root, versions.target, who="bea", why=why, tracking_uri=versions.store)


def told(versions: Versions) -> Standing:
    return history(versions.root, versions.target, tracking_uri=versions.store)


def test_the_whole_story(make: Make) -> None:
    story = make("story")
    first = story.add(MODERATE)
    done = up(story, why="the first one")
    assert (done.version, done.before, done.changed) == (first, "", True)
    assert story.aliases == {"candidate": first, "champion": first}
    assert not up(story).changed, "twice is once"
    assert len(told(story).events) == 1

    worse = story.add(WORSE)
    for _ in range(2):
        with pytest.raises(PromotionRefusal, match=r"not_worse_than_champion .* \(bound 0\.01\).*champion") as caught:
            up(story)
        assert caught.value.exit_code == 4
    assert story.aliases == {"candidate": worse, "champion": first}
    assert story.tags(worse)["promotion.gate.not_worse_than_champion"].startswith("fail: ")

    better = story.add(BETTER)
    done = up(story, why="fewer mistakes")
    assert (done.version, done.before) == (better, first)
    assert story.aliases == {"candidate": better, "champion": better, "previous": first}

    assert back(story, "the field says no").version == first
    assert story.aliases == {"champion": first}
    assert story.tags(better)["promotion.withdrawn"] == "the field says no"
    with pytest.raises(RegistryError, match="no candidate"):
        up(story)
    with pytest.raises(RegistryError, match=f"no champion before version {first}"):
        back(story)
    assert up(story, better, "the field was wrong").version == better
    assert story.aliases == {"champion": better, "previous": first}
    assert "promotion.withdrawn" not in story.tags(better)

    now = told(story)
    assert [(event.kind, event.version, event.who) for event in now.events] == [
        ("promoted", first, "ann"), ("refused", worse, "ann"), ("promoted", better, "ann"),
        ("rolled back", first, "bea"), ("promoted", better, "ann"),
    ]
    assert [event.why for event in now.events] == [
        "the first one", "", "fewer mistakes", "the field says no", "the field was wrong"
    ]
    assert all(came_about(now.events, now.champion))
    kept = _evidence(story, now.events[2].run_id, now.events[2].evidence)
    assert all(gate["passed"] for gate in kept["gates"])
    assert (kept["version"], kept["before"], kept["policy"]["champion"]["margin"]) == (better, first, 0.01)


def _evidence(versions: Versions, run_id: str, path: str) -> dict[str, Any]:
    local = versions.client.download_artifacts(run_id, path, str(versions.root))
    value: dict[str, Any] = json.loads(Path(local).read_text())
    return value


@pytest.mark.parametrize("alias", ["champion", "previous"])
def test_an_interrupted_promotion_leaves_the_old_champion(
    make: Make, monkeypatch: pytest.MonkeyPatch, alias: str
) -> None:
    cut = make(f"cut-{alias}")
    oldest, first = cut.add(MODERATE), ""
    up(cut)
    first = cut.add(MODERATE - {0})
    up(cut)
    second = cut.add(BETTER)
    set_alias = MlflowClient.set_registered_model_alias

    def die(client: MlflowClient, name: str, which: str, version: str) -> None:
        if which == alias:
            raise KeyboardInterrupt
        set_alias(client, name, which, version)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(KeyboardInterrupt):
            up(cut)
    assert cut.aliases["champion"] == first
    assert "promotion.gate.size_bytes" in cut.tags(second), "evidence comes before the alias"
    now = told(cut)
    assert came_about(now.events, now.champion) == [True, True, False]
    assert now.in_use == [oldest, first], "a rollback would still go to the right one"
    assert up(cut).changed
    assert cut.aliases == {"candidate": second, "champion": second, "previous": first}
    now = told(cut)
    assert came_about(now.events, now.champion) == [True, True, False, True]


def test_files_that_are_not_those_that_were_registered_are_refused(make: Make) -> None:
    bad = make("tampered")
    first = bad.add(MODERATE)
    up(bad)
    second = bad.add(BETTER)
    model = bad.stored(second, "model.onnx")
    content = model.read_bytes()
    model.write_bytes(content + b"\0")
    with pytest.raises(PromotionRefusal, match=r"model_file .*not the one that was registered"):
        up(bad)
    model.write_bytes(content)
    latency = bad.stored(second, "evidence/latency.json")
    latency.write_text(latency.read_text().replace('"p95_ms": 1.2', '"p95_ms": 0.1'))
    with pytest.raises(PromotionRefusal, match="evidence_files"):
        up(bad)
    bad.stored(second, "evidence/bundle.json").unlink()
    with pytest.raises(PromotionRefusal, match=r"model_file .*evidence_files"):
        up(bad)
    assert bad.aliases["champion"] == first
    third = bad.add(BETTER)
    up(bad)
    bad.stored(first, "model.onnx").write_bytes(b"other")
    with pytest.raises(PromotionRefusal, match="is not rolled back"):
        back(bad)
    assert bad.aliases["champion"] == third
    shutil.rmtree(bad.stored(first, ""))
    with pytest.raises(RegistryError, match="cannot be read"):
        back(bad)


@pytest.mark.parametrize("kind", ["proxy", "predicted"])
def test_only_a_measured_latency_passes(make: Make, kind: str) -> None:
    guessed = make(f"guessed-{kind}")
    guessed.add(MODERATE, evidence=kind)
    red = [gate for gate in _red(guessed) if gate.startswith("latency")]
    assert red == ["latency_evidence"]
    assert "champion" not in guessed.aliases


@pytest.mark.parametrize("said", [None, predictions(MODERATE, kept=0.1)])
def test_every_red_gate_is_named(make: Make, said: Predictions | None) -> None:
    named = make("named-none" if said is None else "named-weak")
    named.add(said=said)
    few = ["robustness_mean", "robustness_worst"]
    all_of_them = ["accuracy_overall", "accuracy_balanced", "recall_worst_class", "calibration_ece", *few]
    assert _red(named) == (all_of_them if said is None else few)


def _red(versions: Versions) -> list[str]:
    with pytest.raises(PromotionRefusal) as caught:
        up(versions)
    (event,) = told(versions).events
    kept = _evidence(versions, event.run_id, event.evidence)
    red = [gate["gate"] for gate in kept["gates"] if not gate["passed"]]
    assert all(f"{gate} " in str(caught.value) for gate in red)
    return red


def test_a_champion_of_before_predictions_were_recorded_cannot_be_compared_with(make: Make) -> None:
    old = make("old")
    old.client.create_registered_model(old.model)
    run = old.client.create_run(old.published.experiment_id)
    source = str(old.root / "artifacts" / "export" / "local-cpu")
    bare = old.client.create_model_version(old.model, f"file://{source}", run.info.run_id)
    old.client.set_registered_model_alias(old.model, "champion", bare.version)
    old.add(BETTER)
    with pytest.raises(PromotionRefusal, match="not_worse_than_champion not comparable"):
        up(old)
    old.client.delete_registered_model_alias(old.model, "champion")
    with pytest.raises(PromotionRefusal, match=r"model_file \w+ \(bound none\)"):
        up(old, str(bare.version))


def test_what_is_not_there_is_named_with_what_is(make: Make) -> None:
    none = make("nothing")
    with pytest.raises(RegistryError, match=r"no registered model 'toy-set--nothing' \(there are: .*toy-set--"):
        up(none)
    first = none.add(MODERATE)
    with pytest.raises(RegistryError, match=f"has no version 99; it has: {first}"):
        up(none, "99")
    with pytest.raises(RegistryError, match="it has no champion"):
        back(none)
    (none.root / "mlflow").mkdir()
    (none.root / "mlflow" / "promotion.yaml").write_text("accuracy: 3\n")
    with pytest.raises(ConfigError, match=r"promotion\.yaml"):
        up(none)
    assert told(none).events == ()


def test_a_withdrawn_version_is_not_called_candidate_again(make: Make, store: str) -> None:
    gone = make("withdrawn")
    gone.add(MODERATE)
    up(gone)
    second = gone.add(BETTER)
    up(gone)
    back(gone)
    gone.made -= 1
    assert gone.add(BETTER) == second, "the same bundle is the same version"
    assert "candidate" not in gone.aliases
