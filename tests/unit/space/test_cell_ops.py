"""The operations on the edges of cells, beyond the contract of every operation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas_pipeline.space.cell_ops import CellPool, CellSkip, DilConv, FactorizedReduce, ReluConvBn, SepConv, Zero
from nas_pipeline.space.depthwise import DepthwiseConv2d
from nas_pipeline.space.domains import BENCHMARK_PRIMITIVES, OPERATION, PRIMITIVES
from nas_pipeline.space.ops import OPS, settings


def weights(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_the_names_that_need_no_torch_are_rows_of_the_table() -> None:
    assert set(OPERATION.known) <= set(OPS)
    assert set(PRIMITIVES) | set(BENCHMARK_PRIMITIVES) <= set(OPERATION.known)
    assert len(PRIMITIVES) == 8
    assert PRIMITIVES[0] == "none"


def test_a_row_leaves_open_only_what_it_does_not_say() -> None:
    assert settings("sep_conv_5x5") == {"affine"}
    assert settings("max_pool_3x3") == {"norm", "affine"}
    kernels = {name: OPS[name](4, 4).get_submodule("1").kernel_size for name in ("sep_conv_5x5", "dil_conv_3x3")}
    assert kernels == {"sep_conv_5x5": (5, 5), "dil_conv_3x3": (3, 3)}


def test_weights_of_the_convolutions() -> None:
    channels = 6
    for kernel in (3, 5):
        once = kernel * kernel * channels + channels * channels
        assert weights(SepConv(channels, channels, kernel=kernel)) == 2 * (once + 2 * channels)
        assert weights(DilConv(channels, channels, kernel=kernel)) == once + 2 * channels
        assert weights(SepConv(channels, channels, kernel=kernel, affine=False)) == 2 * once
    assert weights(ReluConvBn(channels, channels, kernel=3)) == 9 * channels * channels + 2 * channels
    assert weights(FactorizedReduce(channels, 8)) == channels * 8 + 2 * 8
    assert weights(CellPool(channels, channels)) == weights(Zero(channels, channels)) == 0


def test_depthwise_convolutions_are_ours_and_the_first_has_the_stride() -> None:
    convolutions = [layer for layer in SepConv(4, 4, 2, kernel=5).modules() if isinstance(layer, DepthwiseConv2d)]
    assert [layer.stride for layer in convolutions] == [(2, 2), (1, 1)]
    (dilated,) = (layer for layer in DilConv(4, 4, 2).modules() if isinstance(layer, DepthwiseConv2d))
    assert (dilated.stride, dilated.dilation) == ((2, 2), (2, 2))


@pytest.mark.parametrize("name", [name for name in PRIMITIVES if name != "none"])
def test_an_operation_leaves_its_input_alone(name: str) -> None:
    x = torch.randn(2, 4, 6, 6)
    original = x.clone()
    OPS[name](4, 4, 2)(x)
    assert torch.equal(x, original), "the edges of a node share it"


def test_the_identity_is_its_input_and_nothing_is_zero() -> None:
    x = torch.randn(2, 4, 6, 6)
    assert CellSkip(4, 4)(x) is x
    assert not Zero(4, 4, 2)(x).any()
    assert Zero(4, 6, 2)(x).shape == (2, 6, 3, 3)
    assert isinstance(CellSkip(4, 8)[0], ReluConvBn)


@pytest.mark.parametrize("side", [6, 7])
def test_reduction_sees_even_and_odd_pixels(side: int) -> None:
    reduce = FactorizedReduce(1, 2).eval()
    nn.init.ones_(reduce.even.weight)
    nn.init.ones_(reduce.odd.weight)
    x = torch.rand(1, 1, side, side) + 1
    even, odd = reduce(x)[0] * (1 + 1e-5) ** 0.5
    torch.testing.assert_close(even, x[0, 0, ::2, ::2])
    expected = torch.zeros_like(even)
    inner = x[0, 0, 1::2, 1::2]
    expected[: inner.shape[0], : inner.shape[1]] = inner
    torch.testing.assert_close(odd, expected)


def test_reduction_without_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="stride 1; it halves the map, so take 2"):
        FactorizedReduce(4, 4, 1)


def test_a_pool_averages_what_is_inside_the_map_and_normalises() -> None:
    flat = torch.ones(2, 3, 5, 5)
    torch.testing.assert_close(CellPool(3, 3, norm=False)(flat), flat)
    out = CellPool(3, 3, kind="max")(torch.randn(8, 3, 6, 6) * 5 + 3)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-3, rtol=0)
