"""The section of the page about gradient searches inside trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_pipeline.core.files import write_json
from nas_pipeline.report.derivation import derivations
from nas_pipeline.report.page import PageContext, render_page
from nas_pipeline.report.run_artifacts import read_run_artifacts
from nas_pipeline.space.published import PUBLISHED
from tests.unit.report.toy_run import write_run

DARTS = PUBLISHED["darts_v2"]
OPS = ["none", "skip_connect", "sep_conv_3x3"]


def row(epoch: int) -> dict[str, Any]:
    table = [[0.0, 0.0, 0.1 * epoch]] * 14
    return {"epoch": epoch, "entropy_normal": 0.9, "entropy_reduce": 0.8, "skip_share": 0.25, "eigenvalue": 0.1 * epoch,
            "ops": OPS, "alphas": {"normal": table, "reduce": table}}


def entry(epochs: int = 4) -> dict[str, Any]:
    why = {"epoch": 3, "guard": "eigenvalue", "action": "stop", "why": "it grew <fast>"}
    return {"number": 0, "genotype_id": DARTS.id, "genotype": DARTS.to_json(), "device_s": 1234.0,
            "rows": [row(epoch) for epoch in range(epochs)], "decisions": [why]}


def test_cells_alphas_guards_and_cost_are_shown(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_json(tmp_path / "artifacts/search/derivations.json", [entry()])
    page = render_page(read_run_artifacts(tmp_path), PageContext("darts"))
    assert "1,234 device-seconds" in page
    assert "data:image/svg+xml;base64," in page
    assert "epoch 3, eigenvalue: stop (it grew &lt;fast&gt;)" in page
    assert "Dominant eigenvalue of the Hessian over epochs" in page
    assert page.count("<code>sep_conv_3x3</code>") >= 2


def test_shares_are_those_of_the_softmax_and_the_last_epoch_is_always_there() -> None:
    block = derivations([entry(epochs=100)])[0]
    table = block["alphas"][0]
    assert table["epochs"][0] == 0
    assert table["epochs"][-1] == 99
    assert len(table["epochs"]) <= 26
    first = [op["shares"][0]["share"] for op in table["ops"]]
    assert first == ["33.3"] * 3


def test_a_search_without_rows_is_shown() -> None:
    block = derivations([{**entry(), "rows": [], "decisions": []}])[0]
    assert (block["guards"], block["eigenvalue"], block["alphas"]) == (None, None, [])


def test_a_strategy_that_only_proposes_has_no_such_part(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert 'id="derivation"' not in render_page(read_run_artifacts(tmp_path), PageContext())
