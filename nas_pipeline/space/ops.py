"""Operations: the layers that networks are built from. A new operation is one class and one row of the table `OPS`.

An operation is an `nn.Module` constructed with `(channels_in, channels_out, stride=1)`. It maps [N, channels_in, H, W]
to [N, channels_out, ceil(H / stride), ceil(W / stride)]. Its settings are keyword-only arguments with defaults; a row
may fix a setting with `functools.partial`. A space can search the open ones (`settings`): see
`nas_pipeline/space/mbconv.py`. The activation is always ReLU, as every runtime fuses it and INT8 represents it well.

Example:
    >>> import torch
    >>> operation = OPS["inverted_residual"](8, 16, 2, kernel=5, expansion=3)
    >>> tuple(operation(torch.zeros(1, 8, 7, 7)).shape)
    (1, 16, 4, 4)
    >>> sorted(settings("depthwise_separable"))
    ['kernel', 'squeeze_excitation']

    A new operation with one setting, and its row in a table:

    >>> class PooledConv(nn.Sequential):
    ...     def __init__(self, channels_in, channels_out, stride=1, *, kernel=3):
    ...         super().__init__(
    ...             nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2),
    ...             nn.MaxPool2d(stride, ceil_mode=True),
    ...         )
    >>> table = Catalog("operation", {**OPS, "pooled_conv": PooledConv})
    >>> pooled = table.make("pooled_conv", {"kernel": 5}, channels_in=8, channels_out=16, stride=2)
    >>> tuple(pooled(torch.zeros(1, 8, 7, 7)).shape)
    (1, 16, 4, 4)
"""

from __future__ import annotations

import functools
import inspect

import torch
from torch import nn

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.space.cell_ops import CellPool, CellSkip, DilConv, ReluConvBn, SepConv, Zero
from nas_pipeline.space.depthwise import DepthwiseConv2d
from nas_pipeline.space.network import batch_norm_of

_SE_RATIO = 4
_SE_LEAST = 8


class ConvBnAct(nn.Sequential):
    """Convolution, batch norm (or a bias), ReLU."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1,
        *, kernel: int = 3, batch_norm: bool = True, activation: bool = True,
    ) -> None:
        """`kernel` is odd; without `batch_norm` the convolution has a bias."""
        layers: list[nn.Module] = [
            nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=not batch_norm)
        ]
        if batch_norm:
            layers.append(batch_norm_of(channels_out))
        if activation:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class Skip(nn.Sequential):
    """The identity if the shape stays; else the cheapest projection, a 1x1 convolution and batch norm.

    Source: He et al., arXiv:1512.03385, section 3.3, option B.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        """Empty if `stride` is 1 and the channels are equal."""
        if stride == 1 and channels_in == channels_out:
            super().__init__()
        else:
            conv = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            super().__init__(conv, batch_norm_of(channels_out))


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from the mean of all channels.

    Source: Hu et al., arXiv:1709.01507, section 3; the hard sigmoid: Howard et al., arXiv:1905.02244, section 5.2.
    """

    def __init__(self, channels: int, reduced: int, *, hard: bool = True) -> None:
        """`reduced` is the width of the bottleneck; `hard` selects the piecewise linear sigmoid."""
        super().__init__()
        self.squeeze = nn.Conv2d(channels, reduced, 1)
        self.excite = nn.Conv2d(reduced, channels, 1)
        self.gate = nn.Hardsigmoid() if hard else nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C, H, W] -> the same shape."""
        pooled = x.mean((2, 3), keepdim=True)
        scaled: torch.Tensor = x * self.gate(self.excite(torch.relu(self.squeeze(pooled))))
        return scaled


class DepthwiseSeparable(nn.Sequential):
    """Depthwise convolution and 1x1 convolution, each with batch norm and ReLU.

    Source: Howard et al., arXiv:1704.04861, section 3.1.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1,
        *, kernel: int = 3, squeeze_excitation: bool = False,
    ) -> None:
        """`kernel` is the kernel size of the depthwise convolution."""
        layers = _depthwise(channels_in, kernel, stride)
        if squeeze_excitation:
            layers.append(_excitation(channels_in, channels_in))
        layers.append(ConvBnAct(channels_in, channels_out, kernel=1))
        super().__init__(*layers)


class InvertedResidual(nn.Module):
    """MBConv: expansion (1x1), depthwise convolution, projection (1x1, no activation), with an identity shortcut.

    Expansion 1 omits the first convolution. Source: Sandler et al., arXiv:1801.04381, section 3.3.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1,
        *, kernel: int = 3, expansion: int = 4, squeeze_excitation: bool = False, skip: bool = True,
    ) -> None:
        """The shortcut exists at stride 1 with equal channels; `skip` False omits it there too."""
        super().__init__()
        hidden = channels_in * expansion
        layers: list[nn.Module] = [ConvBnAct(channels_in, hidden, kernel=1)] if expansion > 1 else []
        layers += _depthwise(hidden, kernel, stride)
        if squeeze_excitation:
            layers.append(_excitation(hidden, channels_in))
        layers.append(ConvBnAct(hidden, channels_out, kernel=1, activation=False))
        self.body = nn.Sequential(*layers)
        self.skip = skip and stride == 1 and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, channels_in, H, W] -> [N, channels_out, H / stride, W / stride]."""
        out: torch.Tensor = self.body(x)
        return x + out if self.skip else out


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut.

    Source: He et al., arXiv:1512.03385, section 3.2; `zero_init` is from Goyal et al., arXiv:1706.02677, section 5.1.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1,
        *, squeeze_excitation: bool = False, zero_init: bool = False,
    ) -> None:
        """`zero_init` initialises the block as its shortcut (the weight of the last batch norm is 0)."""
        super().__init__()
        last = ConvBnAct(channels_out, channels_out, activation=False)
        layers: list[nn.Module] = [ConvBnAct(channels_in, channels_out, stride), last]
        if squeeze_excitation:
            layers.append(_excitation(channels_out, channels_out))
        self.body = nn.Sequential(*layers)
        self.shortcut = Skip(channels_in, channels_out, stride)
        if zero_init:
            nn.init.zeros_(last.get_parameter("1.weight"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, channels_in, H, W] -> [N, channels_out, H / stride, W / stride]."""
        return torch.relu(self.body(x) + self.shortcut(x))


OPS: Catalog[nn.Module] = Catalog("operation", {
    "conv_bn_act": ConvBnAct,
    "depthwise_separable": DepthwiseSeparable,
    "inverted_residual": InvertedResidual,
    "residual": ResidualBlock,
    "skip": Skip,
    "none": Zero,
    "skip_connect": CellSkip,
    "sep_conv_3x3": functools.partial(SepConv, kernel=3),
    "sep_conv_5x5": functools.partial(SepConv, kernel=5),
    "dil_conv_3x3": functools.partial(DilConv, kernel=3),
    "dil_conv_5x5": functools.partial(DilConv, kernel=5),
    "avg_pool_3x3": functools.partial(CellPool, kind="avg"),
    "max_pool_3x3": functools.partial(CellPool, kind="max"),
    "nor_conv_1x1": functools.partial(ReluConvBn, kernel=1),
    "nor_conv_3x3": functools.partial(ReluConvBn, kernel=3),
}, entry_points="nas_pipeline.operations")
"""Table name -> operation. The rows from `none` on are for edges of cells (cell_ops.py, names in domains.py)."""


def settings(operation: str) -> frozenset[str]:
    """Return the keyword-only arguments of an operation that its row leaves open: the settings that a space may decide.

    Raises:
        ConfigError: There is no such operation.
    """
    factory = OPS[operation]
    parameters = inspect.signature(factory).parameters.values()
    names = frozenset(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)
    return names - set(factory.keywords) if isinstance(factory, functools.partial) else names


def _depthwise(channels: int, kernel: int, stride: int) -> list[nn.Module]:
    return [DepthwiseConv2d(channels, kernel, stride), batch_norm_of(channels), nn.ReLU(inplace=True)]


def _excitation(channels: int, block_channels: int) -> SqueezeExcitation:
    return SqueezeExcitation(channels, max(_SE_LEAST, block_channels // _SE_RATIO))
