"""The contract of operations: shapes, gradients, a correct cost, and an exported file that devices accept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edge_agent.contract.model_check import check_model
from edge_agent.contract.model_limits import MAX_FILE_BYTES, MAX_OPSET
from nas_pipeline.core.records import InputSpec
from nas_pipeline.export.int8 import quantize_int8
from nas_pipeline.export.onnx_file import export_onnx
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


class OperationNetwork(nn.Module):
    """A small network around one operation: a stem, the operation with strides 1 and 2, a classifier."""

    def __init__(self, operation: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.body = nn.Sequential(operation(8, 8), operation(8, 16, 2))
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] -> logits [N, 4]."""
        features: torch.Tensor = self.body(self.stem(x))
        logits: torch.Tensor = self.head(features.mean((2, 3)))
        return logits


def export_as_devices_accept(operation: Callable[..., nn.Module], folder: Path) -> None:
    """Exports a network with `operation` in both precisions and runs the check of the device on the files.

    Raises:
        ExportError: The operation cannot be exported, or every device would refuse the file.
        UnsafeModelError: The export wrote a file that devices refuse.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    export_onnx(OperationNetwork(operation), InputSpec(1, 8, 8, 4), fp32, opset=20)
    quantize_int8(fp32, int8, np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32))
    for path in (fp32, int8):
        check_model(path, max_bytes=MAX_FILE_BYTES, max_opset=MAX_OPSET)


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
        """All settings have defaults; batch norm has the pipeline's momentum (`space/network.py`)."""
        net = operation(8, 16)
        assert all(norm.momentum == 0.1 for norm in net.modules() if isinstance(norm, nn.BatchNorm2d))

    def test_devices_accept_the_exported_file(self, operation: Callable[..., nn.Module], tmp_path: Path) -> None:
        """The operation exports to ONNX in fp32 and INT8, with operators that devices accept only."""
        export_as_devices_accept(operation, tmp_path)
