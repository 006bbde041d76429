"""A name that no catalogue has is found before the search, each on a line of its own with the nearest there is."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from nas_pipeline.config.params import parse_params
from nas_pipeline.config.schema.params import Params
from nas_pipeline.core.files import read_json
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError
from nas_pipeline.search.evaluators.train import TrainEvaluator
from nas_pipeline.stages.plug_in_names import check_names
from nas_pipeline.stages.run import run_stage
from nas_pipeline.stages.table import STAGES
from tests.pipeline.small_project import PARAMS, write_project


def params_with(key: str, value: Any) -> Params:
    params: dict[str, Any] = copy.deepcopy(PARAMS)
    *way, last = key.split(".")
    inside = params
    for part in way:
        inside = inside[part]
    inside[last] = value
    return parse_params(params, "params.yaml")


def test_the_small_project_has_only_names_that_exist() -> None:
    check_names(parse_params(PARAMS, "params.yaml"))


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("search.strategy", {"name": "nsga"}, r"search\.strategy: unknown strategy 'nsga' \(did you mean 'nsga2'\?\)"),
        ("search.strategy.options", {"populaton": 2}, r"search\.strategy: .* no option 'populaton' \(did you mean"),
        ("search.space.name", "residal", r"search\.space: unknown space 'residal' \(did you mean 'residual'\?\)"),
        ("search.evaluator.name", "trian", r"search\.evaluator: unknown evaluator 'trian'; did you mean 'train'\?"),
        ("search.objective.objectives", {"accuracy": "maximize"},
         r"search\.objective\.objectives: unknown metric 'accuracy'; did you mean 'val_accuracy'\?"),
        ("search.objective.objectives", {"beauty": "maximize"},
         r"unknown metric 'beauty'; there are: \(val_accuracy, latency_ms, size_bytes, params, macs\)"),
        ("retrain.baselines", ["dense_residul"], r"retrain\.baselines: .* 'dense_residul'; did you mean"),
        ("train.recipe", {"optimiser": "adamv"},
         r"train\.recipe\.optimiser: unknown optimiser 'adamv'; did you mean 'adamw'\?"),
        ("targets.here.probe", "lokal", r"targets\.here\.probe: unknown probe 'lokal'; did you mean 'local'\?"),
    ],
)
def test_an_unknown_name_is_one_line_with_its_key(key: str, value: Any, line: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)^params\.yaml has 1 error\(s\):\n  .*{line}"):
        check_names(params_with(key, value))


def test_a_wrong_probe_stops_the_search_before_it_begins(tmp_path: Path) -> None:
    root = write_project(tmp_path, targets={"here": {"probe": "lokal"}})
    for path in STAGES["search"].reads:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("never opened")
    with pytest.raises(ConfigError, match="did you mean 'local'"):
        run_stage("search", root)
    assert read_json(root / "artifacts" / "search" / "error.json")["type"] == "ConfigError"
    assert [path.name for path in (root / "artifacts" / "search").iterdir()] == ["error.json"]
    assert not (root / ".nas" / "search").exists()


def test_the_metrics_that_an_aim_may_name_are_those_of_a_candidate() -> None:
    from nas_pipeline.latency.deploy import OnnxDeploy
    from nas_pipeline.search.evaluators.train import _cost
    from nas_pipeline.space.baselines import BASELINES
    from nas_pipeline.space.load import build_network

    spec = InputSpec(1, 8, 8, 3)
    net = build_network(next(iter(BASELINES.values())), spec).eval()
    given = {**_cost(net, spec), **OnnxDeploy(("fp32",), runs=1, warmup=0)(net, spec), "val_accuracy": 0.0}
    assert set(TrainEvaluator.metrics) <= set(given)
