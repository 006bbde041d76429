from __future__ import annotations

import functools
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError, SpaceError
from nas_pipeline.space import SPACES, mbconv, ops
from nas_pipeline.space.choosers import replay, sample
from nas_pipeline.space.flexible_cnn import ConvBlock, FlexibleCnnPlan, FlexibleCnnSpace
from nas_pipeline.space.mbconv import MBConvSpace
from nas_pipeline.space.ops import DepthwiseSeparable, InvertedResidual, ResidualBlock
from nas_pipeline.space.options import counts
from nas_pipeline.space.residual import ResidualPlan, ResidualSpace, ResidualStage

SPEC = InputSpec(1, 28, 28, 10)


def kinds(net: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [module for module in net.modules() if isinstance(module, kind)]


def last_map(net: nn.Module, side: int) -> tuple[int, int]:
    with torch.no_grad():
        features = net.get_submodule("features")(torch.randn(1, 1, side, side))
    return int(features.shape[2]), int(features.shape[3])


@pytest.mark.parametrize("transition", ["stride", "pool"])
def test_both_transitions_give_equal_maps(transition: str) -> None:
    stages = (ResidualStage(16, transition, 0, False),) * 3
    net = ResidualSpace().build(ResidualPlan(16, 1, stages, "avg"), SPEC)
    assert last_map(net, 28) == (4, 4)
    assert len(kinds(net, nn.MaxPool2d)) == (3 if transition == "pool" else 0)


def test_residual_blocks_and_their_excitation() -> None:
    stages = (ResidualStage(16, "stride", 2, False), ResidualStage(24, "pool", 1, True))
    net = ResidualSpace(zero_init=True).build(ResidualPlan(16, 2, stages, "max"), SPEC)
    blocks = kinds(net, ResidualBlock)
    assert [len(block.body) for block in blocks] == [2, 2, 3]
    assert all(not block.body[1][1].weight.any() for block in blocks)
    assert net.get_submodule("pool").kind == "max"


def test_excitation_of_a_stage_without_blocks_is_no_decision() -> None:
    space = ResidualSpace(blocks=[0])
    names = [name for name, _ in sample(space, random.Random(0)).genes]
    assert not [name for name in names if "excitation" in name]


def test_plain_blocks_pool_down_to_one_pixel_and_no_further() -> None:
    blocks = (ConvBlock(16, 3, True, "max"), ConvBlock(16, 5, False, "avg")) * 2 + (ConvBlock(16, 3, False, "max"),)
    net = FlexibleCnnSpace().build(FlexibleCnnPlan(blocks, 0.3), InputSpec(1, 9, 9, 3))
    assert last_map(net, 9) == (1, 1)
    assert len(kinds(net, nn.MaxPool2d) + kinds(net, nn.AvgPool2d)) == 4
    assert len(kinds(net, nn.BatchNorm2d)) == 2
    assert [module.p for module in kinds(net, nn.Dropout)] == [0.3]


def test_dropouts_are_floats_whatever_yaml_says() -> None:
    assert sample(FlexibleCnnSpace(dropouts=[0]), random.Random(0)).genes[-1] == ("dropout", 0.0)
    assert isinstance(sample(FlexibleCnnSpace(dropouts=[0]), random.Random(0)).genes[-1][1], float)


def test_only_later_blocks_of_a_mobile_stage_have_an_identity() -> None:
    space = MBConvSpace(max_width=48, stages=[3], depths=[3], skips=[True])
    net = space.build(replay(space, sample(space, random.Random(0))), SPEC)
    assert [block.skip for block in kinds(net, InvertedResidual)] == [False, True, True] * 3
    space = MBConvSpace(skips=[False])
    net = space.build(replay(space, sample(space, random.Random(0))), SPEC)
    assert not any(block.skip for block in kinds(net, InvertedResidual))


def test_the_skip_is_no_decision_where_there_is_one_block() -> None:
    names = [name for name, _ in sample(MBConvSpace(depths=[1]), random.Random(0)).genes]
    assert not [name for name in names if name.endswith("skip")]


def test_an_operation_of_the_table_is_searched_by_naming_it() -> None:
    space = MBConvSpace(operations=["depthwise_separable", "residual"])
    genotype = sample(space, random.Random(1))
    net = space.build(replay(space, genotype), SPEC)
    assert kinds(net, DepthwiseSeparable)
    assert kinds(net, ResidualBlock)
    assert not [name for name, _ in genotype.genes if name.endswith("expansion")]
    kernels = [name for name, _ in genotype.genes if name.endswith("kernel")]
    assert len(kernels) == sum(value == "depthwise_separable" for _, value in genotype.genes)


class GroupedConv(nn.Conv2d):
    """An operation with a setting that no space has an option for."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1, *, kernel: int = 3, groups: int = 1
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, padding=kernel // 2, groups=groups)


@pytest.fixture
def table_with_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {**ops.OPS, "grouped": GroupedConv, "fixed_grouped": functools.partial(GroupedConv, groups=2)}
    monkeypatch.setattr(ops, "OPS", Catalog("operation", rows))


@pytest.mark.usefixtures("table_with_grouped")
def test_an_operation_with_a_setting_that_is_neither_searched_nor_fixed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'grouped'.*'groups'"):
        MBConvSpace(operations=["grouped"])
    genes = sample(MBConvSpace(operations=["inverted_residual"]), random.Random(0)).genes
    foreign = tuple((name, "grouped" if name == "stage1.operation" else value) for name, value in genes)
    with pytest.raises(ConfigError, match=r"'grouped'.*'groups'"):
        replay(MBConvSpace(), Genotype("mbconv", 1, foreign))


@pytest.mark.usefixtures("table_with_grouped")
def test_a_setting_that_the_row_fixes_is_no_decision() -> None:
    space = MBConvSpace(operations=["fixed_grouped"])
    genotype = sample(space, random.Random(0))
    assert not [name for name, _ in genotype.genes if name.endswith("groups")]
    convolutions = kinds(space.build(replay(space, genotype), SPEC), GroupedConv)
    assert convolutions
    assert {conv.groups for conv in convolutions} == {2}


@pytest.mark.usefixtures("table_with_grouped")
def test_a_new_setting_is_searched_once_the_space_has_an_option_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class GroupedSpace(MBConvSpace):
        def __init__(self, groups: tuple[int, ...] = (4, 8)) -> None:
            super().__init__(operations=["grouped"])
            self._groups = counts("groups", groups, 64)

    monkeypatch.setitem(mbconv.SETTINGS, "groups", "groups")
    space = GroupedSpace()
    genotype = sample(space, random.Random(0))
    genes = genotype.as_dict()
    decided = [genes[name] for name in genes if name.endswith(".groups")]
    assert len(decided) == genes["stages"]
    net = space.build(replay(space, genotype), SPEC)
    depths = [value for name, value in genes.items() if name.endswith(".depth")]
    expected = [groups for groups, depth in zip(decided, depths, strict=True) for _ in range(int(depth))]
    assert [conv.groups for conv in kinds(net, GroupedConv)] == expected


def test_every_setting_of_the_table_is_searched_or_fixed() -> None:
    searched = set(mbconv.SETTINGS) | mbconv.FIXED_SETTINGS
    assert {setting for name in ops.OPS for setting in ops.settings(name)} <= searched
    assert not set(mbconv.SETTINGS) & mbconv.FIXED_SETTINGS
    MBConvSpace(operations=list(ops.OPS))


def test_a_mobile_network_never_shrinks_under_two_pixels() -> None:
    space = MBConvSpace(stages=[4], stem_strides=[2])
    net = space.build(replay(space, sample(space, random.Random(0))), SPEC)
    assert last_map(net, 28) == (2, 2)


@pytest.mark.parametrize("name", ["residual", "mbconv", "flexible_cnn"])
def test_members_of_a_narrowed_space_are_members_of_the_full_one(name: str) -> None:
    narrow = SPACES.make(name, {"max_width": 48})
    for seed in range(5):
        genotype = sample(narrow, random.Random(seed))
        assert replay(SPACES.make(name), genotype) == replay(narrow, genotype)
        assert all(value <= 48 for gene, value in genotype.genes if gene.endswith(("width", "channels"))
                   and gene != "head.width" and isinstance(value, int))


def test_members_of_a_wider_space_are_built_and_values_that_no_options_can_have_are_not() -> None:
    wide = FlexibleCnnSpace(max_width=200, channels=[200])
    genotype = sample(wide, random.Random(0))
    assert replay(FlexibleCnnSpace(), genotype) == replay(wide, genotype)
    broken = replace(genotype, genes=tuple(
        (name, 0 if name == "block1.channels" else value) for name, value in genotype.genes
    ))
    with pytest.raises(SpaceError, match=r"'block1.channels' holds 0, .* offers 16, .* 96, and takes whole numbers"):
        replay(FlexibleCnnSpace(), broken)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("residual", {"max_width": 8}, r"max_width = 8 leaves no width of \[16, 24, 32, 48\]; it must be at least 16"),
        ("residual", {"stages": [4]}, r"'stages' holds \[4\]; give whole numbers from 1 to 3"),
        ("residual", {"blocks": []}, r"'blocks' leaves nothing to choose from"),
        ("mbconv", {"kernels": 3}, r"'kernels' must be a list, got 3; write \[3\]"),
        ("mbconv", {"kernels": [3, 3]}, r"'kernels' lists a value twice"),
        ("mbconv", {"stages": []}, r"'stages' leaves nothing"),
        ("mbconv", {"operations": ["invrted"]}, r"'operations' holds \['invrted'\]; give any operation"),
        ("mbconv", {"stem_strides": [1, 4]}, r"'stem_strides' holds \[4\]; give some of 1, 2"),
        ("mbconv", {"kernels": [4]}, r"'kernels' holds \[4\]; give odd numbers from 1 to 31"),
        ("flexible_cnn", {"dropouts": [1]}, r"'dropouts' holds \[1.0\]; give numbers from 0.0 to below 1.0"),
        ("residual", {"zero_init": True, "transitions": ["jump"]}, r"'transitions' holds \['jump'\]; give some of"),
        ("flexible_cnn", {"pools": "max"}, r"'pools' must be a list"),
        ("flexible_cnn", {"kernel": [3]}, r"no option 'kernel' \(did you mean 'kernels'\?\)"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SPACES.make(name, options)


def test_ids_are_pinned() -> None:
    """An id is the key of studies and files: if one changes for another reason than what is offered, so must the
    version of its space."""
    ids = {name: sample(SPACES.make(name), random.Random("pin")).id for name in SPACES}
    assert ids == {
        "mbconv": "738ebac6c65c", "flexible_cnn": "7fcbf720bd8f", "residual": "2cd42cc0cab1",
        "cell": "3c8e052c252b", "nasbench201": "e7f92c3b919a",
    }
