"""The contract of operations: shapes, gradients, and a cost that is counted correctly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.space.cost import cost

SHAPES = [(8, 8, 1), (8, 16, 1), (8, 8, 2), (8, 16, 2)]
"""(channels_in, channels_out, stride)."""


def macs_by_hooks(net: nn.Module, x: torch.Tensor) -> int:
    """Returns the multiply-accumulates of all convolutions of `net`, from the textbook formula and observed shapes."""
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


class OperationContract:
    """Subclasses override the fixture `operation`."""

    @pytest.fixture
    def operation(self) -> Callable[..., nn.Module]:
        """The operation under test: a function of (channels_in, channels_out, stride)."""
        raise NotImplementedError("override the fixture `operation`")

    @pytest.mark.parametrize(("channels_in", "channels_out", "stride"), SHAPES)
    @pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5)])
    def test_the_map_is_divided_by_the_stride_and_rounded_up(
        self, operation: Callable[..., nn.Module], channels_in: int, channels_out: int, stride: int, height: int,
        width: int,
    ) -> None:
        """[2, channels_in, H, W] -> [2, channels_out, ceil(H / stride), ceil(W / stride)]."""
        net = operation(channels_in, channels_out, stride)
        expected = (2, channels_out, -(-height // stride), -(-width // stride))
        assert net(torch.randn(2, channels_in, height, width)).shape == expected

    @pytest.mark.parametrize(("channels_in", "channels_out", "stride"), SHAPES)
    def test_gradients_are_finite(
        self, operation: Callable[..., nn.Module], channels_in: int, channels_out: int, stride: int
    ) -> None:
        """The input and every parameter get a finite gradient."""
        torch.manual_seed(0)
        net = operation(channels_in, channels_out, stride)
        x = torch.randn(4, channels_in, 8, 8, requires_grad=True)
        torch.autograd.backward(net(x).square().mean())
        assert x.grad is not None
        for tensor in (x, *net.parameters()):
            assert tensor.grad is not None
            assert torch.isfinite(tensor.grad).all()

    @pytest.mark.parametrize(("channels_in", "channels_out", "stride"), SHAPES)
    def test_macs_are_those_of_the_formula(
        self, operation: Callable[..., nn.Module], channels_in: int, channels_out: int, stride: int
    ) -> None:
        """`cost` counts the convolutions as the formula does."""
        net = operation(channels_in, channels_out, stride).eval()
        spec = InputSpec(channels_in, 8, 8, classes=1)
        assert cost(net, spec).macs == macs_by_hooks(net, torch.zeros(1, channels_in, 8, 8))

    def test_batch_norm_averages_as_configured(self, operation: Callable[..., nn.Module]) -> None:
        """All settings have defaults; batch norm has the pipeline's momentum (`space/batch_norm.py`)."""
        net = operation(8, 16)
        assert all(norm.momentum == 0.1 for norm in net.modules() if isinstance(norm, nn.BatchNorm2d))
