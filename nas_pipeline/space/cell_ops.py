"""Operations on the edges of a cell: ReLU first, batch norm last, so that edges can be added up.

Source: Liu et al., arXiv:1806.09055, section 3.1; Dong and Yang, arXiv:2001.00326, section 2.1 (`ReluConvBn`, and the
handling of a change of channels). The first ReLU of an operation is never in place: edges of a node share their input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from nas_pipeline.space.depthwise import DepthwiseConv2d
from nas_pipeline.space.network import batch_norm_of


class Zero(nn.Module):
    """No connection: zeros that are computed from the input, so that a sum over them has a gradient."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        """The operation has no settings."""
        super().__init__()
        self.channels = channels_out if channels_out != channels_in else None
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, channels_in, H, W] -> zeros [N, channels_out, H / stride, W / stride]."""
        if self.channels is None:
            return x[:, :, :: self.stride, :: self.stride].mul(0)
        return x[:, :1, :: self.stride, :: self.stride].mul(0).expand(-1, self.channels, -1, -1)


class ReluConvBn(nn.Sequential):
    """ReLU, convolution, batch norm."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1, *, kernel: int = 1, affine: bool = True
    ) -> None:
        """`kernel` is odd."""
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
            batch_norm_of(channels_out, affine=affine),
        )


class FactorizedReduce(nn.Module):
    """Halves the feature map with two 1x1 convolutions of stride 2, one pixel apart, so that no pixel row is lost.

    A map of odd size is padded with a row and a column of zeros, so the size is rounded up.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 2, *, affine: bool = True) -> None:
        """Each convolution computes half of the output channels.

        Raises:
            ValueError: `stride` is not 2.
        """
        super().__init__()
        if stride != 2:
            raise ValueError(f"FactorizedReduce: stride {stride}; it halves the map, so take 2")
        half = channels_out // 2
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(channels_in, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels_out - half, 1, stride=2, bias=False)
        self.norm = batch_norm_of(channels_out, affine=affine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, channels_in, H, W] -> [N, channels_out, H / 2, W / 2]."""
        x = self.relu(x)
        rows, columns = x.shape[2] % 2, x.shape[3] % 2
        padded = F.pad(x, (0, columns, 0, rows)) if rows or columns else x
        out: torch.Tensor = self.norm(torch.cat((self.even(x), self.odd(padded[:, :, 1:, 1:])), dim=1))
        return out


class CellSkip(nn.Sequential):
    """The identity if the shape stays; else `FactorizedReduce`, or `ReluConvBn` if only the channels change."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, *, affine: bool = True) -> None:
        """Empty if `stride` is 1 and the channels are equal."""
        if stride > 1:
            super().__init__(FactorizedReduce(channels_in, channels_out, stride, affine=affine))
        elif channels_in != channels_out:
            super().__init__(ReluConvBn(channels_in, channels_out, affine=affine))
        else:
            super().__init__()


class SepConv(nn.Sequential):
    """Two depthwise separable convolutions; the first has the stride."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1, *, kernel: int = 3, affine: bool = True
    ) -> None:
        """`kernel` is the odd kernel size of both depthwise convolutions."""
        super().__init__(
            nn.ReLU(),
            DepthwiseConv2d(channels_in, kernel, stride),
            nn.Conv2d(channels_in, channels_in, 1, bias=False),
            batch_norm_of(channels_in, affine=affine),
            nn.ReLU(inplace=True),
            DepthwiseConv2d(channels_in, kernel),
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
            batch_norm_of(channels_out, affine=affine),
        )


class DilConv(nn.Sequential):
    """A depthwise separable convolution of dilation 2: its receptive field is 5x5 at kernel 3 and 9x9 at kernel 5."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1, *, kernel: int = 3, affine: bool = True
    ) -> None:
        """`kernel` is odd."""
        super().__init__(
            nn.ReLU(),
            DepthwiseConv2d(channels_in, kernel, stride, dilation=2),
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
            batch_norm_of(channels_out, affine=affine),
        )


class CellPool(nn.Sequential):
    """3x3 pooling and a batch norm that is never affine; `ReluConvBn` comes first if the channels change.

    The batch norm gives pooled edges the same scale as other edges. Source: the code of arXiv:1806.09055.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1,
        *, kind: str = "avg", norm: bool = True, affine: bool = True,
    ) -> None:
        """`kind` is "avg" (of the pixels inside the map) or "max"; `norm` False omits the batch norm.

        `affine` is that of the batch norm in `ReluConvBn`, if there is one.
        """
        layers: list[nn.Module] = []
        if channels_in != channels_out:
            layers.append(ReluConvBn(channels_in, channels_out, affine=affine))
        if kind == "max":
            layers.append(nn.MaxPool2d(3, stride, padding=1))
        else:
            layers.append(nn.AvgPool2d(3, stride, padding=1, count_include_pad=False))
        if norm:
            layers.append(batch_norm_of(channels_out, affine=False))
        super().__init__(*layers)
