"""The DARTS search network written directly from the papers, as the reference of tests and of the benchmark.

One module per candidate operation, NCHW, nothing shared between edges, and autograd saves what it needs. It imports
nothing from the package, so that it does not share its defects. Parameters are registered in the same order as there.

Source: Liu et al., DARTS, arXiv:1806.09055; `partial` above 1: Xu et al., PC-DARTS, arXiv:1907.05737, equation 2;
`chosen`: Dong and Yang, GDAS, arXiv:1910.04465, equation 5.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OPS = ("none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5", "avg_pool_3x3",
       "max_pool_3x3")


class Nothing(nn.Module):
    """Zeros."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """x: [N, C, H, W] -> [N, C, H / stride, W / stride]."""
        return x[:, :, :: self.stride, :: self.stride] * 0


class Reduce(nn.Module):
    """Halves the map: two 1x1 convolutions of stride 2, one pixel apart."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.b = nn.Conv2d(c_in, c_out - c_out // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(c_out, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: [N, C_in, H, W] -> [N, C_out, H / 2, W / 2]."""
        x = torch.relu(x)
        shifted = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.a(x), self.b(shifted)], dim=1))


def relu_conv_bn(c_in: int, c_out: int) -> nn.Sequential:
    """ReLU, 1x1 convolution and batch norm: gives the inputs of a cell the channels of its states."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out, affine=False))


def filters(c: int, kernel: int, stride: int, dilation: int) -> list[nn.Module]:
    """One depthwise separable convolution, after a ReLU."""
    pad = dilation * (kernel // 2)
    return [
        nn.ReLU(), nn.Conv2d(c, c, kernel, stride, pad, dilation, groups=c, bias=False), nn.Conv2d(c, c, 1, bias=False),
        nn.BatchNorm2d(c, affine=False),
    ]


def operation(name: str, c: int, stride: int) -> nn.Module:
    """Returns the candidate `name`."""
    norm = nn.BatchNorm2d(c, affine=False)
    match name:
        case "none":
            return Nothing(stride)
        case "skip_connect":
            return nn.Identity() if stride == 1 else Reduce(c, c)
        case "avg_pool_3x3":
            return nn.Sequential(nn.AvgPool2d(3, stride, padding=1, count_include_pad=False), norm)
        case "max_pool_3x3":
            return nn.Sequential(nn.MaxPool2d(3, stride, padding=1), norm)
    kernel = int(name[-1])
    if name.startswith("sep"):
        return nn.Sequential(*filters(c, kernel, stride, 1), *filters(c, kernel, 1, 1))
    return nn.Sequential(*filters(c, kernel, stride, 2))


class MixedOp(nn.Module):
    """All candidates of one edge."""

    def __init__(self, c: int, stride: int, ops: tuple[str, ...], partial: int) -> None:
        super().__init__()
        self.partial = partial
        self.ops = nn.ModuleList(operation(name, c // partial, stride) for name in ops)
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor, weights: Tensor, chosen: int | None) -> Tensor:
        """Returns the weighted sum of all candidates, or only the chosen term; weights: [O]."""
        seen = x.shape[1] // self.partial
        y = x if self.partial == 1 else x[:, :seen]
        if chosen is None:
            y = sum(w * op(y) for w, op in zip(weights, self.ops, strict=True))
        else:
            y = weights[chosen] * self.ops[chosen](y)
        if self.partial == 1:
            return y
        y = torch.cat([y, self.pool(x[:, seen:])], dim=1)
        n, c, height, width = y.shape
        return y.view(n, self.partial, c // self.partial, height, width).transpose(1, 2).reshape(n, c, height, width)


class Cell(nn.Module):
    """All edges of one cell."""

    def __init__(self, c_pp: int, c_p: int, c: int, nodes: int, ops: tuple[str, ...], partial: int, reduction: bool,
                 reduction_before: bool) -> None:
        super().__init__()
        self.reduction, self.nodes = reduction, nodes
        self.preprocess0 = Reduce(c_pp, c) if reduction_before else relu_conv_bn(c_pp, c)
        self.preprocess1 = relu_conv_bn(c_p, c)
        self.edges = nn.ModuleList(
            MixedOp(c, 2 if reduction and source < 2 else 1, ops, partial)
            for node in range(nodes) for source in range(2 + node)
        )

    def forward(self, s0: Tensor, s1: Tensor, weights: Tensor, betas: Tensor | None, chosen: Tensor | None) -> Tensor:
        """Returns the nodes, concatenated; weights: [E, O], betas and chosen: [E]."""
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        edge = 0
        for _ in range(self.nodes):
            total = torch.zeros(())
            for state in states:
                y = self.edges[edge](state, weights[edge], None if chosen is None else int(chosen[edge]))
                total = total + (y if betas is None else betas[edge] * y)
                edge += 1
            states.append(total)
        return torch.cat(states[2:], dim=1)


class Reference(nn.Module):
    """The search network. Weights are by kind, {"normal": [E, O], "reduce": [E, O]}; so are betas and `chosen`."""

    def __init__(self, channels: int = 3, classes: int = 10, *, width: int = 16, cells: int = 8, nodes: int = 4,
                 ops: tuple[str, ...] = OPS, partial: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 3 * width, 3, padding=1, bias=False), nn.BatchNorm2d(3 * width))
        self.cells = nn.ModuleList()
        c_pp, c_p, c, before = 3 * width, 3 * width, width, False
        for i in range(cells):
            reduction = i in (cells // 3, 2 * cells // 3)
            c = 2 * c if reduction else c
            self.cells.append(Cell(c_pp, c_p, c, nodes, ops, partial, reduction, before))
            c_pp, c_p, before = c_p, nodes * c, reduction
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c_p, classes)

    def forward(self, x: Tensor, weights: dict[str, Tensor], betas: dict[str, Tensor] | None = None,
                chosen: dict[str, Tensor] | None = None) -> Tensor:
        """x: [N, channels, H, W] -> [N, classes]."""
        s0 = s1 = self.stem(x)
        for cell in self.cells:
            kind = "reduce" if cell.reduction else "normal"
            edge_weights, picked = betas and betas[kind], chosen and chosen[kind]
            s0, s1 = s1, cell(s0, s1, weights[kind], edge_weights, picked)
        return self.classifier(self.pool(s1).flatten(1))


def copy_weights(source: list[nn.Parameter], target: list[nn.Parameter]) -> None:
    """Copies the parameters `source` to `target`, in the order of registration."""
    assert [p.shape for p in source] == [p.shape for p in target]
    with torch.no_grad():
        for a, b in zip(source, target, strict=True):
            b.copy_(a)
