"""Networks of the space `cell`, and their parts that exist in training only: drop-path and the auxiliary head.

Source: Liu et al., arXiv:1806.09055, section 3.2, and the code published with it.
"""

from __future__ import annotations

import torch
from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.space.cell_ops import FactorizedReduce, ReluConvBn
from nas_pipeline.space.cell_plan import INPUTS, Cell, CellPlan
from nas_pipeline.space.network import GlobalPool, batch_norm_of, initialise
from nas_pipeline.space.ops import OPS

STEM_MULTIPLIER = 3
"""Channels of the stem per channel of a node."""

AUXILIARY = "auxiliary."
"""Prefix of the entries of the auxiliary head in a state dict."""

_AUXILIARY_MAP = 2
_AUXILIARY_WIDTHS = (128, 768)


def reductions(cells: int) -> tuple[int, int]:
    """Return the indices of the two reduction cells among `cells`."""
    return cells // 3, 2 * cells // 3


class DropPath(nn.Module):
    """Zeroes a path for a random part of the images, in training only; the rest is scaled up so that the mean stays.

    Source: Larsson et al., arXiv:1605.07648, section 3; per image as in Zoph et al., arXiv:1707.07012, section 3.
    """

    def __init__(self) -> None:
        """The attribute `probability`, with which the path of an image is zeroed, starts at 0."""
        super().__init__()
        self.probability = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C, H, W] -> the same shape."""
        if not self.training or self.probability == 0:
            return x
        keep_probability = 1 - self.probability
        mask = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep_probability)
        return x * mask.div_(keep_probability)


class CellModule(nn.Module):
    """One cell of a network. Nodes that do not reach the output are not built."""

    def __init__(self, cell: Cell, channels: tuple[int, int], width: int, *, halve: bool, halve_first: bool) -> None:
        """Build the cell.

        Args:
            cell: Its graph.
            channels: Output channels of the two previous cells, the earlier one first.
            width: Channels of every node.
            halve: Whether the cell is a reduction: operations on its inputs then have stride 2.
            halve_first: Whether the previous cell is a reduction: the map of state 0 is then twice as large as that of
                state 1.
        """
        super().__init__()
        self.concat = cell.concat
        self.channels = width * len(cell.concat)
        first = FactorizedReduce if halve_first else ReluConvBn
        self.preprocess = nn.ModuleList((first(channels[0], width), ReluConvBn(channels[1], width)))
        self.inputs: dict[int, tuple[int, int]] = {}
        self.edges = nn.ModuleDict()
        live = _live(cell)
        for state, node in enumerate(cell.nodes, start=INPUTS):
            if state in live:
                self.inputs[state] = node.inputs
                self.edges[str(state)] = nn.ModuleList(
                    _edge(op, width, 2 if halve and source < INPUTS else 1)
                    for op, source in zip(node.ops, node.inputs, strict=True)
                )

    def forward(self, earlier: torch.Tensor, latest: torch.Tensor) -> torch.Tensor:
        """Outputs of the two previous cells -> [N, channels, H, W]."""
        states = dict(enumerate(prepare(x) for prepare, x in zip(self.preprocess, (earlier, latest), strict=True)))
        for (state, (a, b)), (first, second) in zip(self.inputs.items(), self._pairs(), strict=True):
            states[state] = first(states[a]) + second(states[b])
        return torch.cat([states[state] for state in self.concat], dim=1)

    def _pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(pair.get_submodule("0"), pair.get_submodule("1")) for pair in self.edges.values()]


class NormalCell(CellModule):
    """A cell that preserves the size of the feature map."""


class ReductionCell(CellModule):
    """A cell that halves the feature map."""


class AuxiliaryHead(nn.Sequential):
    """A second classifier on an earlier feature map, pooled from any size to 2x2; it shortens the gradient path."""

    def __init__(self, channels: int, classes: int) -> None:
        """`channels` is the number of channels of the feature map."""
        narrow, wide = _AUXILIARY_WIDTHS
        super().__init__(
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(_AUXILIARY_MAP),
            nn.Conv2d(channels, narrow, 1, bias=False),
            batch_norm_of(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, wide, _AUXILIARY_MAP, bias=False),
            batch_norm_of(wide),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(wide, classes),
        )


class CellNetwork(nn.Module):
    """Stem, cells, global average pooling, linear."""

    def __init__(self, plan: CellPlan, spec: InputSpec) -> None:
        """Build `plan` for images of `spec`."""
        super().__init__()
        self.classes = spec.classes
        self.reductions = reductions(plan.cells)
        stem = STEM_MULTIPLIER * plan.width
        self.stem = nn.Sequential(nn.Conv2d(spec.channels, stem, 3, padding=1, bias=False), batch_norm_of(stem))
        self.cells = nn.ModuleList()
        channels, width, halved = (stem, stem), plan.width, False
        for index in range(plan.cells):
            halve = index in self.reductions
            width = 2 * width if halve else width
            kind, cell = (ReductionCell, plan.reduce) if halve else (NormalCell, plan.normal)
            module = kind(cell, channels, width, halve=halve, halve_first=halved)
            self.cells.append(module)
            channels, halved = (channels[1], module.channels), halve
        self.pool = GlobalPool()
        self.classifier = nn.Linear(channels[1], spec.classes)
        self.auxiliary: AuxiliaryHead | None = None
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C, H, W] -> logits [N, classes]."""
        return self._logits(x)[0]

    def both_logits(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x: [N, C, H, W] -> logits of the network and of the auxiliary head, each [N, classes].

        Raises:
            ValueError: The network has no auxiliary head; call `add_auxiliary` first.
        """
        if self.auxiliary is None:
            raise ValueError("this network has no auxiliary head; call add_auxiliary(net) first")
        logits, middle = self._logits(x)
        return logits, self.auxiliary(middle)

    def _logits(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        earlier = latest = middle = self.stem(x)
        for index, cell in enumerate(self.cells):
            earlier, latest = latest, cell(earlier, latest)
            if index == self.reductions[1]:
                middle = latest
        return self.classifier(self.pool(latest)), middle


def add_auxiliary(net: CellNetwork) -> None:
    """Add an auxiliary head after the second reduction of `net`, initialised from torch's random state.

    The entries of the head in the state dict start with `AUXILIARY`. A network without a head is counted and exported.
    """
    second = net.cells[net.reductions[1]]
    assert isinstance(second, CellModule)
    head = AuxiliaryHead(second.channels, net.classes)
    initialise(head)
    net.auxiliary = head.to(net.classifier.weight.device)


def _edge(op: str, width: int, stride: int) -> nn.Module:
    """An operation followed by drop-path; the identity is never dropped."""
    operation = OPS[op](width, width, stride)
    identity = op == "skip_connect" and stride == 1
    return operation if identity else nn.Sequential(operation, DropPath())


def _live(cell: Cell) -> set[int]:
    """The states from which a path leads to the output."""
    live = set(cell.concat)
    for state, node in reversed(list(enumerate(cell.nodes, start=INPUTS))):
        if state in live:
            live.update(node.inputs)
    return live
