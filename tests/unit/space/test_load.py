from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from nas_pipeline.core.files import write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space import SPACES
from nas_pipeline.space.baselines import BASELINES
from nas_pipeline.space.choosers import sample
from nas_pipeline.space.cost import cost
from nas_pipeline.space.load import build_network, genotype_from_file
from nas_pipeline.space.mbconv import MBConvSpace

SPEC = InputSpec(1, 28, 28, 10)


def test_a_file_gives_the_network(tmp_path: Path) -> None:
    genotype = BASELINES["depthwise_separable"]
    write_json(tmp_path / "genotype.json", genotype.to_json())
    assert genotype_from_file(tmp_path / "genotype.json") == genotype
    assert build_network(genotype, SPEC)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("text", [None, "{", "{}", "[]"])
def test_a_file_without_a_genotype_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "genotype.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(SpaceError, match=r"no genotype can be read from .*genotype\.json"):
        genotype_from_file(path)


def test_an_unknown_space_is_named() -> None:
    with pytest.raises(SpaceError, match=f"unknown space 'moon'; known: {', '.join(SPACES)}"):
        build_network(Genotype("moon", 1, ()), SPEC)


def test_a_member_of_a_widened_space_is_loaded_without_its_options() -> None:
    options = {"operations": ["conv_bn_act"], "depths": [4], "head_widths": [12], "kernels": [9]}
    genotype = sample(MBConvSpace(**options), random.Random(0))  # type: ignore[arg-type]
    assert build_network(genotype, SPEC)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_costs_of_the_baselines() -> None:
    costs = {name: cost(build_network(genotype, SPEC), SPEC) for name, genotype in BASELINES.items()}
    assert (costs["dense_residual"].params, costs["dense_residual"].macs) == (264_842, 35_450_304)
    assert (costs["depthwise_separable"].params, costs["depthwise_separable"].macs) == (55_050, 1_237_200)
