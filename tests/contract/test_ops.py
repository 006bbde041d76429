"""Contract of operations. Every row of OPS is tested."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edge_agent.contract.model_check import check_model
from edge_agent.contract.model_limits import MAX_FILE_BYTES, MAX_OPSET
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ExportError
from nas_pipeline.export.int8 import quantize_int8
from nas_pipeline.export.onnx_file import export_onnx
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


class OperationNet(nn.Module):
    """A small network around one operation: a stem, the operation with strides 1 and 2, a classifier."""

    def __init__(self, operation: type[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.body = nn.Sequential(operation(8, 8), operation(8, 16, 2))
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.body(self.stem(x))
        return self.head(features.mean((2, 3)))


def export_as_devices_accept(operation: type[nn.Module], folder: Path) -> None:
    """Exports a network with `operation` in both precisions and runs the check of the device on the files.

    Raises:
        ExportError: The operation cannot be exported, or every device would refuse the file.
        UnsafeModelError: The export wrote a file that devices refuse.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    export_onnx(OperationNet(operation), InputSpec(1, 8, 8, 4), fp32, opset=20)
    quantize_int8(fp32, int8, np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32))
    for path in (fp32, int8):
        check_model(path, max_bytes=MAX_FILE_BYTES, max_opset=MAX_OPSET)


def test_devices_accept_the_exported_operation(operation: str, tmp_path: Path) -> None:
    export_as_devices_accept(OPS[operation], tmp_path)


class ChunkGate(nn.Module):
    """Half of the channels gates the other half. The operation breaks the contract: `chunk` exports to Split."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, 2 * channels_out, 3, stride, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.conv(x).chunk(2, dim=1)
        return value * gate.sigmoid()


def test_an_operation_with_an_operator_that_devices_refuse_breaks_the_contract(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Split"):
        export_as_devices_accept(ChunkGate, tmp_path)
