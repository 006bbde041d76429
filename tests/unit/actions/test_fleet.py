"""Every command of `nas fleet`, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nas_pipeline.actions.fleet import open_fleet
from nas_pipeline.cli.app import app
from nas_pipeline.errors import ConfigError, FleetError
from nas_pipeline.fleet.tuf.releases import added
from tests.unit.fleet.toy_releases import entry_of, row_of, sign_list

REPO = Path(__file__).resolve().parents[3]
TARGET, MODEL = "local-cpu", "toy--local-cpu"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text((REPO / "params.yaml").read_text())
    return tmp_path


def run(root: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["fleet", *words, "--root", str(root)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def _release(root: Path, content: bytes, counter: int, share: int = 10_000) -> None:
    fleet = open_fleet(root)
    row = row_of(content, counter, target=TARGET, model=MODEL, share=share)
    sign_list(fleet, TARGET, MODEL, added(fleet.release_list(TARGET, MODEL), row), files={row.card.onnx: content},
                  entry=entry_of(row, why="a good reason"))


def test_all_commands_in_sequence(root: Path, tmp_path: Path) -> None:
    assert "offline media" in run(root, "init")
    assert "new targets: none" in run(root, "init")
    _release(root, b"one", 1)
    _release(root, b"two", 2, share=100)
    status = run(root, "status")
    assert "release 2, version 2" in status
    assert "wave 1 of 2: 1 %" in status
    assert "lines, valid" in status
    assert "release 2 (version 2) is replaced by release 1" in run(root, "stop", "--target", TARGET)
    _release(root, b"three", 3)
    assert "is replaced by release 4 (version 1)" in run(root, "rollback", "--target", TARGET, "--why", "worse")
    sha256 = open_fleet(root).release_list(TARGET, MODEL)[0].sha256
    assert "for 100 % since" in run(root, "live", "--target", TARGET, "--at", "2099-01-01")
    assert "no release is offered" in run(root, "revoke", "--release", sha256[:10], "--target", TARGET)
    assert "no release was offered" in run(root, "live", "--target", TARGET, "--at", "2020-01-01")
    assert "the new key" in run(root, "rotate-key", "root")
    key = next(line for line in run(root, "status").splitlines() if line.startswith("timestamp")).split()[-1]
    assert "is no longer valid" in run(root, "revoke", "--key", key)
    assert "timestamp" in run(root, "resign")
    assert "0 files" in run(root, "restore")
    assert "files copied" in run(root, "mirror", str(tmp_path / "medium"))
    assert ", 0 files" not in run(root, "mirror", str(tmp_path / "medium"))
    _release(root, b"five", 5)
    _release(root, b"six", 6, share=100)
    assert "nothing below release 5" in run(root, "export-root", str(tmp_path / "image"))
    assert {path.name for path in (tmp_path / "image").iterdir()} == {"root.json", "toy--local-cpu.floor.json"}


def test_invalid_commands_are_refused(root: Path) -> None:
    with pytest.raises(FleetError, match="run `nas fleet init`"):
        run(root, "status")
    run(root, "init")
    with pytest.raises(ConfigError, match="pass --key ID"):
        run(root, "revoke")
    with pytest.raises(FleetError, match="no model"):
        run(root, "rollback", "--target", TARGET)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text[: text.index("\nfleet:")] + text[text.index("\ntargets:"):])
    with pytest.raises(ConfigError, match="has no section `fleet`"):
        run(root, "status")
