"""Operations on the edges of a cell: ReLU first, batch norm last, so that edges can be added up.

Source: Liu et al., arXiv:1806.09055, section 3.1; Dong and Yang, arXiv:2001.00326, section 2.1 (`ReluConvBn`, and what
happens where the channels change). The first ReLU of each is never in place: the edges of a node share their input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from nas_pipeline.space.depthwise import DepthwiseConv2d
from nas_pipeline.space.network import batch_norm_of


class Zero(nn.Module):
    """No connection: zeros that hang on the input, so that a sum over it has a gradient."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        """There is nothing to set."""
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
    """Halves the map without losing a pixel row for good: two 1x1 convolutions of stride 2, one pixel apart.

    A map of odd size gets a row and column of zeros first, so the size is rounded up.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 2, *, affine: bool = True) -> None:
        """Each convolution gives half of the output channels.

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
    """Nothing where the shape stays; elsewhere `FactorizedReduce`, or `ReluConvBn` where only the channels change."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, *, affine: bool = True) -> None:
        """Empty if `stride` is 1 and the channels are equal."""
        if stride > 1:
            super().__init__(FactorizedReduce(channels_in, channels_out, stride, affine=affine))
        elif channels_in != channels_out:
            super().__init__(ReluConvBn(channels_in, channels_out, affine=affine))
        else:
            super().__init__()


class SepConv(nn.Sequential):
    """A depthwise separable convolution, twice; the stride is that of the first."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1, *, kernel: int = 3, affine: bool = True
    ) -> None:
        """`kernel` is odd, and that of both depthwise convolutions."""
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
    """A depthwise separable convolution that looks at every second pixel: kernel 3 sees 5x5, kernel 5 sees 9x9."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1, *, kernel: int = 3, affine: bool = True
    ) -> None:
        """`kernel` is odd; the dilation is 2."""
        super().__init__(
            nn.ReLU(),
            DepthwiseConv2d(channels_in, kernel, stride, dilation=2),
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
            batch_norm_of(channels_out, affine=affine),
        )


class CellPool(nn.Sequential):
    """3x3 pooling, then a batch norm that is never affine; before them `ReluConvBn` where the channels change.

    The batch norm gives pooled edges the scale of the others. Source: the code of arXiv:1806.09055.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1,
        *, kind: str = "avg", norm: bool = True, affine: bool = True,
    ) -> None:
        """`kind` is "avg" (of the pixels inside the map) or "max"; `norm` False leaves the batch norm out.

        `affine` is for the convolution in front, where there is one.
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
