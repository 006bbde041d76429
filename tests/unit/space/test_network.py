from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nas_pipeline.space.network import GlobalPool, MapSize, Network, initialise


def test_global_pooling() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(GlobalPool("avg")(x), x.mean((2, 3)))
    assert torch.equal(GlobalPool("max")(x), x.flatten(2).max(2).values)


@pytest.mark.parametrize(
    ("sides", "smallest", "strides", "left"),
    [
        ((28, 28), 2, [2, 2, 2, 2, 1], (2, 2)),
        ((28, 28), 1, [2, 2, 2, 2, 2, 1], (1, 1)),
        ((64, 5), 2, [2, 2, 1], (16, 2)),
        ((2, 2), 2, [1], (2, 2)),
    ],
)
def test_maps_stop_shrinking(sides: tuple[int, int], smallest: int, strides: list[int], left: tuple[int, int]) -> None:
    size = MapSize(*sides, smallest=smallest)
    assert [size.shrink(2) for _ in strides] == strides
    assert (size.height, size.width) == left


def test_stride_one_leaves_the_map() -> None:
    size = MapSize(7, 7)
    assert size.shrink(1) == 1
    assert (size.height, size.width) == (7, 7)


@pytest.mark.parametrize(("groups", "fan_out"), [(1, 256 * 9), (256, 9)])
def test_convolutions_start_with_the_fan_out_of_one_group(groups: int, fan_out: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(256, 256, 3, groups=groups)
    initialise(conv)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
    assert conv.bias is not None
    assert not conv.bias.any()


def test_first_logits_are_small_and_dropout_is_there_only_if_asked() -> None:
    torch.manual_seed(0)
    net = Network(nn.Conv2d(1, 32, 3), 32, 10, dropout=0.2)
    assert net(torch.randn(4, 1, 8, 8)).abs().max() < 0.5
    assert isinstance(net.dropout, nn.Dropout)
    assert not isinstance(Network(nn.Identity(), 1, 2).dropout, nn.Dropout)
