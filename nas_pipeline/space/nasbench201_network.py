"""The network of NAS-Bench-201: the benchmark's skeleton around one cell.

Source: Dong and Yang, arXiv:2001.00326, section 2.1, and the code published with it.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.space.cell_ops import ReluConvBn, Zero
from nas_pipeline.space.cell_plan import NODES, BenchmarkPlan
from nas_pipeline.space.network import Network, batch_norm_of
from nas_pipeline.space.ops import OPS, settings

_NONE = "none"


class BenchmarkCell(nn.Module):
    """Each node is the sum of its edges; the last node is the output.

    Edges without an operation, and nodes that reach the output only through such edges, are not built. The benchmark
    counts the parameters of the latter, although they have no effect.
    """

    def __init__(self, edges: tuple[tuple[str, ...], ...], width: int) -> None:
        """`width` is the number of channels of the input and of every node."""
        super().__init__()
        self.nodes = nn.ModuleDict()
        used = [{source: op for source, op in enumerate(node) if op != _NONE} for node in edges]
        live = {NODES}
        for node in range(NODES, 0, -1):
            live.update(used[node - 1] if node in live else ())
        for node in range(1, NODES + 1):
            if node in live:
                operations = {str(source): _operation(op, width) for source, op in used[node - 1].items()}
                self.nodes[str(node)] = nn.ModuleDict(operations or {"0": Zero(width, width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, width, H, W] -> the same shape."""
        states = {"0": x}
        for node, edges in self.nodes.items():
            assert isinstance(edges, nn.ModuleDict)
            first, *rest = (operation(states[source]) for source, operation in edges.items())
            states[node] = sum(rest, start=first)
        return states[str(NODES)]


class ReductionBlock(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside average pooling and a 1x1 convolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        """The feature map is halved, rounded up."""
        super().__init__()
        self.body = nn.Sequential(
            ReluConvBn(channels_in, channels_out, 2, kernel=3), ReluConvBn(channels_out, channels_out, kernel=3)
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels_in, channels_out, 1, bias=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, channels_in, H, W] -> [N, channels_out, H / 2, W / 2]."""
        out: torch.Tensor = self.shortcut(x) + self.body(x)
        return out


def benchmark_network(plan: BenchmarkPlan, spec: InputSpec) -> Network:
    """Build the network of `plan` for images of `spec`."""
    width = plan.width
    layers: dict[str, nn.Module] = {
        "stem": nn.Sequential(nn.Conv2d(spec.channels, width, 3, padding=1, bias=False), batch_norm_of(width))
    }
    for stage in (1, 2, 3):
        if stage > 1:
            layers[f"reduction{stage - 1}"] = ReductionBlock(width, 2 * width)
            width *= 2
        layers[f"stage{stage}"] = nn.Sequential(*(BenchmarkCell(plan.edges, width) for _ in range(plan.cells)))
    layers["last"] = nn.Sequential(batch_norm_of(width), nn.ReLU(inplace=True))
    return Network(nn.Sequential(OrderedDict(layers)), width, spec.classes)


def _operation(op: str, width: int) -> nn.Module:
    """Build one operation; the pooling of the benchmark has no batch norm."""
    return OPS[op](width, width, 1, **({"norm": False} if "norm" in settings(op) else {}))
