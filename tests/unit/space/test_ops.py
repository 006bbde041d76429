from __future__ import annotations

import pytest
import torch
from torch import nn

from nas_pipeline.errors import ConfigError
from nas_pipeline.space.depthwise import DepthwiseConv2d
from nas_pipeline.space.ops import (
    ConvBnAct,
    DepthwiseSeparable,
    InvertedResidual,
    ResidualBlock,
    Skip,
    SqueezeExcitation,
    settings,
)


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_a_convolution_has_a_batch_norm_or_a_bias() -> None:
    assert count(ConvBnAct(8, 16, kernel=5)) == 8 * 16 * 25 + 2 * 16
    assert count(ConvBnAct(8, 16, kernel=5, batch_norm=False)) == 8 * 16 * 25 + 16
    assert (ConvBnAct(8, 16)(torch.randn(2, 8, 4, 4)) >= 0).all()
    assert (ConvBnAct(8, 16, activation=False)(torch.randn(2, 8, 4, 4)) < 0).any()


def test_skip_is_nothing_where_the_shape_stays() -> None:
    x = torch.randn(2, 8, 4, 4)
    assert Skip(8, 8)(x) is x
    assert count(Skip(8, 16)) == 8 * 16 + 2 * 16


def test_parameters_of_the_mobile_blocks() -> None:
    assert count(DepthwiseSeparable(8, 16)) == 8 * 9 + 16 + 8 * 16 + 32
    expand, filters, project = 8 * 32 + 64, 32 * 25 + 64, 32 * 16 + 32
    assert count(InvertedResidual(8, 16, kernel=5, expansion=4)) == expand + filters + project
    assert count(InvertedResidual(8, 16, kernel=5, expansion=1)) == 8 * 25 + 16 + 8 * 16 + 32
    excitation = (32 * 8 + 8) + (8 * 32 + 32)
    assert count(InvertedResidual(8, 16, squeeze_excitation=True)) == count(InvertedResidual(8, 16)) + excitation
    assert sum(isinstance(module, DepthwiseConv2d) for module in InvertedResidual(8, 16).modules()) == 1


@pytest.mark.parametrize(
    ("channels_out", "stride", "skip", "expected"),
    [(8, 1, True, True), (8, 1, False, False), (16, 1, True, False), (8, 2, True, False)],
)
def test_the_identity_of_an_inverted_residual(channels_out: int, stride: int, skip: bool, expected: bool) -> None:
    block = InvertedResidual(8, channels_out, stride, skip=skip)
    last = block.get_submodule("body")[-1][1]  # type: ignore[index]
    nn.init.zeros_(last.weight)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), x) if expected else not block(x).any()


def test_a_residual_block_starts_as_its_shortcut_if_asked() -> None:
    x = torch.rand(2, 8, 4, 4)
    assert torch.equal(ResidualBlock(8, 8, zero_init=True)(x), x)
    assert torch.equal(ResidualBlock(8, 8, zero_init=True, squeeze_excitation=True)(x), x)
    assert not torch.equal(ResidualBlock(8, 8)(x), x)
    assert count(ResidualBlock(8, 16, 2)) == 8 * 16 * 9 + 32 + 16 * 16 * 9 + 32 + 8 * 16 + 32


@pytest.mark.parametrize("hard", [True, False])
def test_squeeze_excitation_scales_channels(hard: bool) -> None:
    x = torch.rand(2, 8, 4, 4) + 1
    scale = SqueezeExcitation(8, 4, hard=hard)(x) / x
    torch.testing.assert_close(scale, scale.mean((2, 3), keepdim=True).expand_as(scale))
    assert ((scale >= 0) & (scale <= 1)).all()


def test_settings_are_what_a_space_may_decide() -> None:
    assert settings("inverted_residual") == {"kernel", "expansion", "squeeze_excitation", "skip"}
    assert settings("skip") == set()
    with pytest.raises(ConfigError, match=r"unknown operation 'inverted_residul'.*inverted_residual"):
        settings("inverted_residul")
