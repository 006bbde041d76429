from __future__ import annotations

import torch
from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.space.cost import cost, sample_costs
from nas_pipeline.space.depthwise import DepthwiseConv2d
from nas_pipeline.space.ops import ConvBnAct
from nas_pipeline.space.residual import ResidualSpace

SPEC = InputSpec(64, 14, 14, 10)


def test_a_dense_convolution() -> None:
    assert cost(nn.Conv2d(64, 32, 3, stride=2, padding=1), SPEC).macs == 7 * 7 * 32 * 64 * 9


def test_a_depthwise_convolution_counts_one_channel_per_filter() -> None:
    net = DepthwiseConv2d(64, 3)
    assert cost(net, SPEC).macs == 14 * 14 * 64 * 9
    assert cost(net, SPEC).params == 64 * 9


def test_a_grouped_convolution() -> None:
    assert cost(nn.Conv2d(64, 64, 3, padding=1, groups=4), SPEC).macs == 14 * 14 * 64 * 16 * 9


def test_a_linear_layer_and_frozen_parameters() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    assert (cost(net, SPEC).macs, cost(net, SPEC).params) == (640, 650)
    net.requires_grad_(False)
    assert cost(net, SPEC).params == 0


def test_counting_leaves_the_network_alone() -> None:
    net = ConvBnAct(64, 8)
    net(torch.randn(2, 64, 14, 14)).sum().backward()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    cost(net, SPEC)
    assert net.training
    assert all(module.training for module in net.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_sample_of_costs_is_ordered_repeatable_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    spread = sample_costs(ResidualSpace(), InputSpec(1, 28, 28, 10), n=7, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    for metric in ("params", "macs"):
        assert spread[metric]["min"] < spread[metric]["median"] < spread[metric]["max"]
    assert spread == sample_costs(ResidualSpace(), InputSpec(1, 28, 28, 10), n=7, seed=1)
    assert spread != sample_costs(ResidualSpace(), InputSpec(1, 28, 28, 10), n=7, seed=2)
