"""The daily date of the fleet's signatures, as a flow."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.resign import resign
from nas_pipeline.errors import FleetError
from nas_pipeline.steps.fleet import init_lines

REPO = Path(__file__).resolve().parents[3]


def test_a_run_dates_the_fleet_anew(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((REPO / "params.yaml").read_text())
    list(init_lines(tmp_path))
    state = resign.fn(str(tmp_path))
    assert state.is_completed()
    assert state.message == "dated anew: timestamp"


def test_without_a_fleet_it_fails_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((REPO / "params.yaml").read_text())
    with pytest.raises(FleetError, match="run `nas fleet init`"):
        resign.fn(str(tmp_path))
