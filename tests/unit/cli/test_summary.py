"""The summary of a run, from artefacts in the format of the stages."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nas_pipeline.cli.summary import print_summary
from nas_pipeline.core.files import read_json, write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import (
    DatasetManifest,
    Evidence,
    GateResult,
    InputSpec,
    LatencyReport,
    ModelBundle,
    Parity,
    TrainResult,
)
from nas_pipeline.errors import DataError
from nas_pipeline.report.facts import gather, mean_and_spread

SPEC = InputSpec(channels=1, height=28, width=28, classes=3)
WINNER = Genotype("residual", 1, (("stem.width", 16),))
BY_HAND = Genotype("residual", 1, (("stem.width", 32),))

Edit = Callable[[str, Callable[[Any], Any]], None]


def result(genotype: Genotype, test: tuple[float, ...], params: int) -> TrainResult:
    seeds = tuple(range(len(test)))
    return TrainResult(
        genotype, "d" * 64, {"learning_rate": 0.1}, seeds, tuple(value + 0.01 for value in test), test,
        tuple(3.0 for _ in seeds), tuple(100.0 for _ in seeds), params, 2_500_000,
    )


def deliver(root: Path, target: str, evidence: Evidence, metrics: dict[str, float], gates: list[GateResult]) -> None:
    bundle = ModelBundle(
        target, WINNER, {"model.onnx": "f" * 64}, SPEC, "int8", {"size_bytes": 54_321.0, **metrics},
        Parity(64, 0.998, 0.01), {},
    )
    latency = LatencyReport(evidence, 0.4, 0.45, 0.512, 0.6, 2000, 5, 1, 0.1, True, "f" * 64, 0.2)
    write_json(root / "artifacts" / "export" / target / "bundle.json", bundle.to_json())
    write_json(root / "artifacts" / "verify" / target / "latency.json", latency.to_json())
    write_json(root / "artifacts" / "verify" / target / "gates.json", [gate.to_json() for gate in gates])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A finished run: `rpi` measured and green, `watch` by proxy and red, `phone` missing in the last run."""
    artifacts = tmp_path / "artifacts"
    manifest = DatasetManifest(
        "toy-set", "d" * 64, SPEC, {"train": 50_000, "test": 10_000}, ("a", "b", "c"), (0.5,), (0.2,), {"dropped": 1234}
    )
    write_json(artifacts / "ingest" / "dataset.json", manifest.to_json())
    write_json(artifacts / "search" / "winner.json", {"genotype": WINNER.to_json(), "number": 4, "why": "best"})
    write_json(artifacts / "search" / "metrics.json", {"trials": 20, "device_s": 480.0})
    write_json(artifacts / "retrain" / "result.json", result(WINNER, (0.94, 0.95), 98_765).to_json())
    by_hand = {"dense_residual": result(BY_HAND, (0.93,), 264_842), "plain": result(BY_HAND, (0.90,), 1_000)}
    write_json(artifacts / "retrain" / "baselines.json", {name: item.to_json() for name, item in by_hand.items()})
    tested = {"test_accuracy": 0.951, "test_accuracy_mean": 0.9455, "test_accuracy_std": 0.0078, "test_seeds": 2.0}
    green = [GateResult("accuracy", True, 0.95, 0.93), GateResult("latency", True, 0.512, 1.0)]
    deliver(tmp_path, "rpi", "measured", tested, green)
    deliver(tmp_path, "watch", "proxy", {}, [*green, GateResult("evidence", False, "proxy", "measured", "no device")])
    deliver(tmp_path, "phone", "measured", {}, green)
    targets = {
        "rpi": {"registered": "3", "model": "toy-set--rpi", "refusal": None, "skipped": None},
        "watch": {"registered": None, "model": None, "refusal": "evidence: proxy (bound measured)", "skipped": None},
    }
    write_json(tmp_path / ".nas" / "last-run.json", {"targets": targets, "stages": {}, "wall_s": 600.0})
    return tmp_path


@pytest.fixture
def edit(root: Path) -> Edit:
    """Change one JSON file of the run by a function of its value."""

    def change(name: str, by: Callable[[Any], Any]) -> None:
        write_json(root / name, by(read_json(root / name)))

    return change


def summary(root: Path) -> str:
    """What is printed, as it stands."""
    console = Console(file=io.StringIO(), width=400)
    print_summary(root, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def flowing(root: Path) -> str:
    """What is printed, as one line: where titles and captions break is not the matter here."""
    return " ".join(summary(root).split())


def rows(text: str, start: str) -> list[str]:
    """Cells of the table row that starts with this, without their frames."""
    (line,) = [line for line in text.splitlines() if line.strip("│┃ ").startswith(start)]
    return [cell.strip() for cell in line.strip("│┃ ").split("│")]


def test_the_data_and_what_was_left_out(root: Path, edit: Edit) -> None:
    text = summary(root)
    assert "toy-set " in text
    assert "train 50,000" in text
    assert "test 10,000" in text
    assert "; 1,234 duplicate training images dropped" in text
    edit("artifacts/ingest/dataset.json", lambda value: {**value, "notes": {}})
    assert "duplicate" not in summary(root)


def test_networks_with_mean_and_spread_beside_those_by_hand(root: Path) -> None:
    text = summary(root)
    assert rows(text, f"winner {WINNER.id}") == [
        f"winner {WINNER.id} (residual)", "98,765", "2.5", "2", "95.50 ± 0.71 %", "94.50 ± 0.71 %", "200",
    ]
    assert rows(text, "dense_residual") == [
        "dense_residual (hand-designed)", "264,842", "2.5", "1", "94.00 %", "93.00 %", "100",
    ]


def test_each_target_with_its_evidence_and_every_gate(root: Path) -> None:
    text = flowing(root)
    assert "rpi: int8, 54 kB, p95 0.512 ms (measured, n=2,000), 2/2 gates green" in text
    assert "watch: int8, 54 kB, p95 0.512 ms (proxy, n=2,000), 2/3 gates green" in text
    assert rows(summary(root), "evidence") == ["evidence", "red", "proxy", "measured", "no device"]
    assert "test accuracy of the int8 file: 94.55 ± 0.78 % over 2 seeds; the released file: 95.10 %" in text


def test_the_outcome_of_each_target(root: Path, edit: Edit) -> None:
    outcomes = {target.name: target.outcome for target in gather(root).targets}
    assert outcomes == {
        "rpi": "candidate, version 3", "watch": "refused: evidence: proxy (bound measured)", "phone": "not registered",
    }
    skipped = {"registered": None, "model": None, "refusal": None, "skipped": "not published: MLflow is down"}
    edit(".nas/last-run.json", lambda value: {**value, "targets": {"rpi": skipped}})
    outcomes = {target.name: target.outcome for target in gather(root).targets}
    assert outcomes["rpi"] == "not registered: not published: MLflow is down"
    assert "not registered: not published: MLflow is down" in flowing(root)


def test_the_cost_of_a_run_and_its_gain(root: Path, edit: Edit) -> None:
    text = summary(root)
    assert ("Cost: search 20 trials, 480 device-seconds; retraining 200; hand-designed networks 200; wall 10.0 min; "
            "against the best hand-designed network: +1.50 points of test accuracy") in text
    edit("artifacts/retrain/baselines.json", lambda value: {})
    assert "hand-designed networks 0; wall 10.0 min\n" in summary(root), "no baseline, so no comparison"


def test_a_search_without_gain_is_reported(root: Path, edit: Edit) -> None:
    edit("artifacts/retrain/baselines.json",
         lambda value: {"dense_residual": {**value["dense_residual"], "test_accuracy": [0.96]}})
    assert "against the best hand-designed network: -1.50 points" in summary(root)


def test_stages_run_without_the_flow_have_a_summary_too(root: Path) -> None:
    (root / ".nas" / "last-run.json").unlink()
    text = summary(root)
    assert {target.outcome for target in gather(root).targets} == {"not registered"}
    assert "wall" not in text


def test_where_to_look_next(root: Path) -> None:
    assert str(root / "artifacts/validate/data_docs/index.html") in summary(root)


@pytest.mark.parametrize(
    "missing",
    ["artifacts/ingest/dataset.json", "artifacts/search/winner.json", "artifacts/retrain/result.json",
     "artifacts/retrain/baselines.json", "artifacts/export/rpi/bundle.json"],
)
def test_an_unfinished_run_says_which_file_is_missing(root: Path, missing: str) -> None:
    (root / missing).unlink()
    with pytest.raises(DataError, match=rf"there is no finished run in .*{missing} is missing; run `make pipeline`"):
        print_summary(root, Console(file=io.StringIO()))


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no finished run in"):
        gather(tmp_path)


def test_a_run_that_was_not_verified_is_not_finished(root: Path) -> None:
    (root / "artifacts" / "verify").rename(root / "elsewhere")
    with pytest.raises(DataError, match="artifacts/verify is missing"):
        gather(root)


def test_one_value_has_no_spread() -> None:
    assert mean_and_spread((0.945,)) == "94.50 %"
    assert mean_and_spread((0.94, 0.95, 0.96)) == "95.00 ± 1.00 %"
