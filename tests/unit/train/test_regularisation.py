"""Drop path and the auxiliary head: set by the recipe, absent from saved weights, without effect on other networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.data.loaders import SearchData, load_search_data
from nas_pipeline.errors import ConfigError
from nas_pipeline.space.cell_network import CellNetwork, DropPath
from nas_pipeline.space.cell_plan import Cell, CellPlan, Node
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.regularisation import add_auxiliary_head, all_logits, set_drop_path
from nas_pipeline.train.trainer import EvaluationRow, Fitted, fit
from tests.unit.train.test_trainer import CPU, RECIPE, equal, small_net

CELL = Cell((Node((0, 1), ("sep_conv_3x3", "skip_connect")),), (2,))
FULL = replace(RECIPE, batch_size=128, drop_path=0.3, auxiliary=0.4)


def network() -> CellNetwork:
    return CellNetwork(CellPlan(2, 3, CELL, CELL), InputSpec(1, 16, 16, 4))


@pytest.fixture(scope="module")
def data(ingested: Path) -> SearchData:
    return load_search_data(ingested)


def run(data: SearchData, recipe: Recipe, build: Callable[[], nn.Module] = network, **options: Any) -> Fitted:
    return fit(build, data, recipe, TrainBudget(epochs=2), seed=0, device=CPU, **options)


def test_the_saved_weights_are_those_of_the_network_without_the_head(data: SearchData, tmp_path: Path) -> None:
    path, has_head = tmp_path / "checkpoint.pt", []

    def read_checkpoint(row: EvaluationRow) -> bool:
        names = torch.load(path, weights_only=True)["net"]
        has_head.append(any(name.startswith("auxiliary.") for name in names))
        return True

    fitted = run(data, FULL, checkpoint=path, on_evaluation=read_checkpoint)
    assert fitted.state.keys() == network().state_dict().keys()
    network().load_state_dict(fitted.state)
    assert has_head == [True, True], "a resumed training needs its head"


def test_a_resumed_training_equals_an_uninterrupted_one(data: SearchData, tmp_path: Path) -> None:
    class PowerCut(Exception):
        pass

    def cut(row: EvaluationRow) -> bool:
        raise PowerCut

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(PowerCut):
        run(data, FULL, checkpoint=path, on_evaluation=cut)
    assert equal(run(data, FULL, checkpoint=path), run(data, FULL))


@pytest.mark.parametrize("setting", [{"drop_path": 0.3}, {"auxiliary": 0.4}], ids=str)
def test_each_setting_changes_cells_and_no_other_network(data: SearchData, setting: dict[str, float]) -> None:
    recipe = replace(RECIPE, batch_size=128)
    assert not equal(run(data, replace(recipe, **setting)), run(data, recipe))  # type: ignore[arg-type]
    assert equal(run(data, replace(recipe, **setting), small_net), run(data, recipe, small_net))  # type: ignore[arg-type]


def test_the_probability_grows_along_a_line(data: SearchData) -> None:
    met: list[float] = []

    def note(path: nn.Module, _inputs: object) -> None:
        if isinstance(path, DropPath) and path.training:
            met.append(path.probability)

    def watched() -> nn.Module:
        net = network()
        for module in net.modules():
            if isinstance(module, DropPath):
                module.register_forward_pre_hook(note)
        return net

    run(data, replace(FULL, auxiliary=0.0), watched)
    steps = list(dict.fromkeys(met))
    count = len(steps)
    assert count > 2
    assert steps == pytest.approx([0.3 * step / count for step in range(count)])


def test_the_head_is_there_only_if_the_recipe_weighs_it() -> None:
    net, images = network(), torch.zeros(2, 1, 16, 16)
    add_auxiliary_head(net, RECIPE)
    assert all_logits(net, images)[1] is None
    add_auxiliary_head(net, FULL)
    second = all_logits(net, images)[1]
    assert second is not None
    assert second.shape == (2, 4)
    plain = small_net()
    add_auxiliary_head(plain, FULL)
    set_drop_path(plain, 0.5)
    assert all_logits(plain, images)[1] is None


@pytest.mark.parametrize("wrong", [{"drop_path": 1.0}, {"drop_path": -0.1}, {"auxiliary": -1.0}], ids=str)
def test_wrong_settings_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"recipe: {next(iter(wrong))}: "):
        Recipe(**wrong)  # type: ignore[arg-type]
