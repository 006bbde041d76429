"""Promotion, rollback and history as actions: records, with the current user as the author of an event."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_pipeline.actions.identity import current_user
from nas_pipeline.actions.promotion import promote, read_history, rollback
from nas_pipeline.errors import RegistryError
from nas_pipeline.registry.publish import publish
from tests.unit.registry.toy_artifacts import write_artifacts
from tests.unit.registry.versions import Versions


def test_the_history_contains_promotions_and_rollbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    root = tmp_path / "workspace"
    write_artifacts(root)
    published = publish(root, run_key="toy-set-1", tags={"git.commit": "abc"}, tracking_uri=store)
    versions = Versions(root, store, published, "local-cpu")
    first = versions.add(set(range(0, 3000, 33)))
    assert promote(root, "local-cpu", None, "the first version").version == first
    second = versions.add(set(range(0, 3000, 300)))
    assert promote(root, "local-cpu", second, "more accurate").before == first
    assert rollback(root, "local-cpu", "too slow").version == first
    history = read_history(root, "local-cpu")
    assert (history.champion, history.previous) == (first, "")
    assert [(row.event.kind, row.event.version, row.event.why) for row in history.events] == [
        ("promoted", first, "the first version"), ("promoted", second, "more accurate"),
        ("rolled back", first, "too slow"),
    ]
    assert all(row.took_effect and row.event.who == current_user() for row in history.events)


def test_a_model_that_does_not_exist(tmp_path: Path) -> None:
    for action in (lambda: promote(tmp_path, "rpi", None, ""), lambda: rollback(tmp_path, "rpi", ""),
                   lambda: read_history(tmp_path, "rpi")):
        with pytest.raises(RegistryError):
            action()
