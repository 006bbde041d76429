"""Promotion, refusal, rollback and interruption: the champion is never lost."""

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
from nas_pipeline.registry.aliases import AliasState, read_alias_state
from nas_pipeline.registry.history import took_effect
from nas_pipeline.registry.promote import Promoted, promote, rollback
from nas_pipeline.registry.publish import PublishedRun
from tests.unit.gates.toy_versions import predictions
from tests.unit.registry.versions import Versions

Make = Callable[[str], Versions]
MODERATE = set(range(0, 3000, 33))
BETTER = set(range(0, 3000, 300))
WORSE = set(range(0, 3000, 15))


@pytest.fixture
def make(tmp_path: Path, shared: tuple[Path, PublishedRun], store: str) -> Make:
    """The registered model of a target of that name, without versions yet."""
    root = Path(shutil.copytree(shared[0], tmp_path / "workspace"))
    return lambda target: Versions(root, store, shared[1], target)


def promote_version(versions: Versions, version: str | None = None, why: str = "") -> Promoted:
    return promote(
        versions.root, versions.target, version=version, who="ann", why=why, tracking_uri=versions.store
    )


def roll_back(versions: Versions, why: str = "") -> Promoted:
    return rollback(versions.root, versions.target, who="bea", why=why, tracking_uri=versions.store)


def alias_state(versions: Versions) -> AliasState:
    return read_alias_state(versions.root, versions.target, tracking_uri=versions.store)


def test_promotion_refusal_and_rollback_in_sequence(make: Make) -> None:
    story = make("story")
    first = story.add(MODERATE)
    done = promote_version(story, why="the first one")
    assert (done.version, done.before, done.changed) == (first, "", True)
    assert story.aliases == {"candidate": first, "champion": first}
    assert not promote_version(story).changed, "a second promotion changes nothing"
    assert len(alias_state(story).events) == 1

    worse = story.add(WORSE)
    for _ in range(2):
        with pytest.raises(PromotionRefusal, match=r"not_worse_than_champion .* \(bound 0\.01\).*champion") as caught:
            promote_version(story)
        assert caught.value.exit_code == 4
    assert story.aliases == {"candidate": worse, "champion": first}
    assert story.tags(worse)["promotion.gate.not_worse_than_champion"].startswith("fail: ")

    better = story.add(BETTER)
    done = promote_version(story, why="fewer mistakes")
    assert (done.version, done.before) == (better, first)
    assert story.aliases == {"candidate": better, "champion": better, "previous": first}

    assert roll_back(story, "the field says no").version == first
    assert story.aliases == {"champion": first}
    assert story.tags(better)["promotion.withdrawn"] == "the field says no"
    with pytest.raises(RegistryError, match="no candidate"):
        promote_version(story)
    with pytest.raises(RegistryError, match=f"no champion before version {first}"):
        roll_back(story)
    assert promote_version(story, better, "the field was wrong").version == better
    assert story.aliases == {"champion": better, "previous": first}
    assert "promotion.withdrawn" not in story.tags(better)

    now = alias_state(story)
    assert [(event.kind, event.version, event.who) for event in now.events] == [
        ("promoted", first, "ann"), ("refused", worse, "ann"), ("promoted", better, "ann"),
        ("rolled back", first, "bea"), ("promoted", better, "ann"),
    ]
    assert [event.why for event in now.events] == [
        "the first one", "", "fewer mistakes", "the field says no", "the field was wrong"
    ]
    assert all(took_effect(now.events, now.champion))
    evidence = _evidence(story, now.events[2].run_id, now.events[2].evidence)
    assert all(gate["passed"] for gate in evidence["gates"])
    assert (evidence["version"], evidence["before"], evidence["policy"]["champion"]["margin"]) == (better, first, 0.01)


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
    promote_version(cut)
    first = cut.add(MODERATE - {0})
    promote_version(cut)
    second = cut.add(BETTER)
    set_alias = MlflowClient.set_registered_model_alias

    def die(client: MlflowClient, name: str, which: str, version: str) -> None:
        if which == alias:
            raise KeyboardInterrupt
        set_alias(client, name, which, version)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(KeyboardInterrupt):
            promote_version(cut)
    assert cut.aliases["champion"] == first
    assert "promotion.gate.size_bytes" in cut.tags(second), "evidence comes before the alias"
    now = alias_state(cut)
    assert took_effect(now.events, now.champion) == [True, True, False]
    assert now.champion_stack == [oldest, first], "a rollback would still go to the right one"
    assert promote_version(cut).changed
    assert cut.aliases == {"candidate": second, "champion": second, "previous": first}
    now = alias_state(cut)
    assert took_effect(now.events, now.champion) == [True, True, False, True]


def test_files_that_are_not_those_that_were_registered_are_refused(make: Make) -> None:
    bad = make("tampered")
    first = bad.add(MODERATE)
    promote_version(bad)
    second = bad.add(BETTER)
    model = bad.stored(second, "model.onnx")
    content = model.read_bytes()
    model.write_bytes(content + b"\0")
    with pytest.raises(PromotionRefusal, match=r"model_file .*not the one that was registered"):
        promote_version(bad)
    model.write_bytes(content)
    latency = bad.stored(second, "evidence/latency.json")
    latency.write_text(latency.read_text().replace('"p95_ms": 1.2', '"p95_ms": 0.1'))
    with pytest.raises(PromotionRefusal, match="evidence_files"):
        promote_version(bad)
    bad.stored(second, "evidence/bundle.json").unlink()
    with pytest.raises(PromotionRefusal, match=r"model_file .*evidence_files"):
        promote_version(bad)
    assert bad.aliases["champion"] == first
    third = bad.add(BETTER)
    promote_version(bad)
    bad.stored(first, "model.onnx").write_bytes(b"other")
    with pytest.raises(PromotionRefusal, match="is not rolled back"):
        roll_back(bad)
    assert bad.aliases["champion"] == third
    shutil.rmtree(bad.stored(first, ""))
    with pytest.raises(RegistryError, match="cannot be read"):
        roll_back(bad)


@pytest.mark.parametrize("kind", ["proxy", "predicted"])
def test_only_a_measured_latency_passes(make: Make, kind: str) -> None:
    guessed = make(f"guessed-{kind}")
    guessed.add(MODERATE, evidence=kind)
    red = [gate for gate in _red(guessed) if gate.startswith("latency")]
    assert red == ["latency_evidence"]
    assert "champion" not in guessed.aliases


@pytest.mark.parametrize("recorded", [None, predictions(MODERATE, retained=0.1)])
def test_every_red_gate_is_named(make: Make, recorded: Predictions | None) -> None:
    named = make("named-none" if recorded is None else "named-weak")
    named.add(recorded_predictions=recorded)
    few = ["robustness_mean", "robustness_worst"]
    all_of_them = ["accuracy_overall", "accuracy_balanced", "recall_worst_class", "calibration_ece", *few]
    assert _red(named) == (all_of_them if recorded is None else few)


def _red(versions: Versions) -> list[str]:
    with pytest.raises(PromotionRefusal) as caught:
        promote_version(versions)
    (event,) = alias_state(versions).events
    evidence = _evidence(versions, event.run_id, event.evidence)
    red = [gate["gate"] for gate in evidence["gates"] if not gate["passed"]]
    assert all(f"{gate} " in str(caught.value) for gate in red)
    return red


def test_a_champion_without_recorded_predictions_is_not_comparable(make: Make) -> None:
    old = make("old")
    old.client.create_registered_model(old.model)
    run = old.client.create_run(old.published.experiment_id)
    source = str(old.root / "artifacts" / "export" / "local-cpu")
    bare = old.client.create_model_version(old.model, f"file://{source}", run.info.run_id)
    old.client.set_registered_model_alias(old.model, "champion", bare.version)
    old.add(BETTER)
    with pytest.raises(PromotionRefusal, match="not_worse_than_champion not comparable"):
        promote_version(old)
    old.client.delete_registered_model_alias(old.model, "champion")
    with pytest.raises(PromotionRefusal, match=r"model_file \w+ \(bound none\)"):
        promote_version(old, str(bare.version))


def test_a_missing_name_is_reported_with_the_existing_ones(make: Make) -> None:
    none = make("nothing")
    with pytest.raises(RegistryError, match=r"no registered model 'toy-set--nothing' \(there are: .*toy-set--"):
        promote_version(none)
    first = none.add(MODERATE)
    with pytest.raises(RegistryError, match=f"has no version 99; it has: {first}"):
        promote_version(none, "99")
    with pytest.raises(RegistryError, match="it has no champion"):
        roll_back(none)
    (none.root / "mlflow").mkdir()
    (none.root / "mlflow" / "promotion.yaml").write_text("accuracy: 3\n")
    with pytest.raises(ConfigError, match=r"promotion\.yaml"):
        promote_version(none)
    assert alias_state(none).events == ()


def test_a_withdrawn_version_does_not_become_candidate_again(make: Make, store: str) -> None:
    gone = make("withdrawn")
    gone.add(MODERATE)
    promote_version(gone)
    second = gone.add(BETTER)
    promote_version(gone)
    roll_back(gone)
    gone.created -= 1
    assert gone.add(BETTER) == second, "the same bundle is the same version"
    assert "candidate" not in gone.aliases
