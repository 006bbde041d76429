"""The flow `resign`: daily renewal of the fleet's metadata."""

from __future__ import annotations

from pathlib import Path

from flows.resign import NO_FLEET, resign
from nas_pipeline.actions.fleet import init_fleet
from tests.unit.flows.toy_repository import write_repository

REPO = Path(__file__).resolve().parents[3]


def project(folder: Path) -> Path:
    repository = write_repository(folder / "repo")
    (repository / "params.yaml").write_text((REPO / "params.yaml").read_text())
    return repository


def test_a_run_renews_the_metadata(tmp_path: Path) -> None:
    root = project(tmp_path)
    init_fleet(root)
    state = resign.fn(repo=str(root))
    assert (state.is_completed(), state.message) == (True, "renewed: timestamp")


def test_a_missing_key_fails_and_is_named(tmp_path: Path) -> None:
    root = project(tmp_path)
    init_fleet(root)
    for key in (root / "fleet/keys").glob("timestamp*"):
        key.unlink()
    state = resign.fn(repo=str(root))
    assert state.is_failed()
    assert "timestamp" in str(state.message)


def test_without_a_fleet_there_is_nothing_to_do(tmp_path: Path) -> None:
    state = resign.fn(repo=str(project(tmp_path)))
    assert (state.is_completed(), state.message) == (True, NO_FLEET)
