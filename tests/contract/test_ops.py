"""Every operation of the catalogue is under the contract of operations. A new row of OPS needs no line here."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from nas_pipeline.errors import ExportError
from nas_pipeline.space import ops
from nas_pipeline.space.ops import OPS, settings
from nas_pipeline.testing.operations import OperationContract, export_as_devices_accept


class TestOperationsOfTheCatalogue(OperationContract):
    @pytest.fixture(params=list(OPS))
    def operation(self, request: pytest.FixtureRequest) -> Callable[..., nn.Module]:
        return OPS[request.param]


@pytest.mark.parametrize("operation", OPS)
def test_stride_is_no_setting(operation: str) -> None:
    assert "stride" not in settings(operation)


def test_the_examples_of_the_module_run() -> None:
    result = doctest.testmod(ops)
    assert result.attempted > 0
    assert result.failed == 0


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
