"""Contract of operations. Every row of OPS is tested."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.space import ops
from nas_pipeline.space.cost import cost
from nas_pipeline.space.ops import OPS, settings

SHAPES = [(8, 8, 1), (8, 16, 1), (8, 8, 2), (8, 16, 2)]


@pytest.fixture(params=list(OPS))
def operation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def macs_by_hooks(net: nn.Module, x: torch.Tensor) -> int:
    """Multiply-accumulates of the convolutions of `net`, computed from the formula and the observed shapes."""
    counted = []

    def count(conv: nn.Module, _: object, output: torch.Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        height, width = conv.kernel_size
        counted.append(output.numel() * height * width * conv.in_channels // conv.groups)

    hooks = [module.register_forward_hook(count) for module in net.modules() if isinstance(module, nn.Conv2d)]
    net(x)
    for hook in hooks:
        hook.remove()
    return sum(counted)


@pytest.mark.parametrize(("channels_in", "channels_out", "stride"), SHAPES)
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5)])
def test_the_map_is_divided_by_the_stride_and_rounded_up(
    operation: str, channels_in: int, channels_out: int, stride: int, height: int, width: int
) -> None:
    net = OPS[operation](channels_in, channels_out, stride)
    expected = (2, channels_out, -(-height // stride), -(-width // stride))
    assert net(torch.randn(2, channels_in, height, width)).shape == expected


@pytest.mark.parametrize(("channels_in", "channels_out", "stride"), SHAPES)
def test_gradients_are_finite(operation: str, channels_in: int, channels_out: int, stride: int) -> None:
    torch.manual_seed(0)
    net = OPS[operation](channels_in, channels_out, stride)
    x = torch.randn(4, channels_in, 8, 8, requires_grad=True)
    net(x).square().mean().backward()
    assert x.grad is not None
    for tensor in (x, *net.parameters()):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


@pytest.mark.parametrize(("channels_in", "channels_out", "stride"), SHAPES)
def test_macs_are_those_of_the_formula(operation: str, channels_in: int, channels_out: int, stride: int) -> None:
    net = OPS[operation](channels_in, channels_out, stride).eval()
    spec = InputSpec(channels_in, 8, 8, classes=1)
    assert cost(net, spec).macs == macs_by_hooks(net, torch.zeros(1, channels_in, 8, 8))


def test_settings_have_defaults_and_batch_norm_averages_as_configured(operation: str) -> None:
    net = OPS[operation](8, 16)
    assert "stride" not in settings(operation)
    assert all(norm.momentum == 0.1 for norm in net.modules() if isinstance(norm, nn.BatchNorm2d))


def test_the_examples_of_the_module_run() -> None:
    result = doctest.testmod(ops)
    assert result.attempted > 0
    assert result.failed == 0
