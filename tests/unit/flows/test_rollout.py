"""The flow on a real server: a stop is a Refusal, a change that cannot be signed is a failure, and both notify."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.rollout import rollout
from nas_pipeline.actions.fleet import open_fleet
from nas_pipeline.errors import ConfigError, KeysUnavailable, RolloutRefusal
from tests.unit.actions.test_devices import failing, root, without_keys
from tests.unit.actions.test_fleet import MODEL, TARGET
from tests.unit.flows.toy_repository import git

__all__ = ["root"]  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def test_a_stop_is_a_refusal(root: Path) -> None:
    git(root, "init", "-q", "-b", "main")
    assert rollout(repo=str(root), return_state=True).message == "nothing is published"
    failing(root)
    state = rollout(repo=str(root), return_state=True)
    assert state.name == "Refused"
    assert isinstance(state.result(raise_on_failure=False), RolloutRefusal)
    assert "release 3, version 1, for every device" in str(state.message)
    assert list((root / "drop").iterdir()) == [], "the reports were collected first"
    again = rollout(repo=str(root), return_state=True)
    assert (again.name, "waits" in str(again.message)) == ("Completed", True)
    assert open_fleet(root).release_list(TARGET, MODEL)[0].whole
    assert "STOPPED" not in (root / "reports" / "fleet.html").read_text()


def test_a_stop_that_cannot_be_signed_is_a_failure(root: Path) -> None:
    git(root, "init", "-q", "-b", "main")
    failing(root)
    without_keys(root)
    state = rollout(repo=str(root), return_state=True)
    assert (state.name, state.is_failed()) == ("Failed", True)
    assert isinstance(state.result(raise_on_failure=False), KeysUnavailable)
    for fact in (MODEL, "100.0% failed", f"{TARGET}-1.pem"):
        assert fact in str(state.message)
    assert [row.release.counter for row in open_fleet(root).release_list(TARGET, MODEL)] == [2, 1]
    assert (root / "reports" / "fleet.html").is_file(), "the page is written all the same"


def test_an_unknown_notification_block_is_a_configuration_error(root: Path) -> None:
    state = rollout(repo=str(root), notify=["custom-webhook/nobody"], return_state=True)
    assert isinstance(state.result(raise_on_failure=False), ConfigError)
