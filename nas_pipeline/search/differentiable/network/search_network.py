"""The network that a differentiable search trains: all candidates at once, weighted by a mixing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.network.candidates import without_running_statistics
from nas_pipeline.search.differentiable.network.mixed_cell import MixedCell
from nas_pipeline.search.differentiable.network.mixing import KINDS, Mixing, edges
from nas_pipeline.search.differentiable.network.states import CellState, rectified_output
from nas_pipeline.space.domains import PRIMITIVES

_START = 1e-3
"""Standard deviation of alphas and betas at the start: all candidates have nearly equal weights."""


class SearchNetwork(nn.Module):
    """The network that a differentiable search trains: images [N, channels, H, W] and a mixing -> logits [N, classes].

    Batch norms use the statistics of the batch, in training and in evaluation; none has running statistics.

    Source: Liu et al., DARTS, arXiv:1806.09055, section 3 and appendix A; the parts for `partial` above 1: Xu et al.,
    PC-DARTS, arXiv:1907.05737.
    """

    def __init__(
        self, spec: InputSpec, *, width: int = 16, cells: int = 8, nodes: int = 4, ops: Sequence[str] = PRIMITIVES,
        partial: int = 1, stem_multiplier: int = 3,
    ) -> None:
        """Creates the network.

        Cells number cells // 3 and 2 * cells // 3, counted from 0, halve the map and double `width`.

        Args:
            spec: Only the channels and the classes are used: images can have any size.
            width: Channels of a state in the first cells.
            cells: Number of cells.
            nodes: Inner nodes of a cell.
            ops: Rows of OPS, in the order of the columns of alphas.
            partial: 1 / partial of the channels of a state pass through the candidates; above 1 there are betas.
            stem_multiplier: The stem has `stem_multiplier * width` channels.

        Raises:
            ConfigError: `width` is not a multiple of `partial`, or OPS lacks one of `ops`.
        """
        super().__init__()
        if partial < 1 or width % partial:
            raise ConfigError(
                f"search network: width {width} is not a multiple of partial {partial}; change one of them"
            )
        self.ops = tuple(ops)
        stem = stem_multiplier * width
        self.stem = nn.Sequential(nn.Conv2d(spec.channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.cells = nn.ModuleList()
        before_last, last, reduced = stem, stem, False
        for cell in range(cells):
            reduce = cell in (cells // 3, 2 * cells // 3)
            width = 2 * width if reduce else width
            self.cells.append(MixedCell(
                before_last, last, width, nodes=nodes, ops=self.ops, reduce=reduce, after_reduce=reduced,
                partial=partial,
            ))
            before_last, last, reduced = last, nodes * width, reduce
        self.classifier = nn.Linear(last, spec.classes)
        shape = (len(edges(nodes)), len(self.ops))
        self.alphas = nn.ParameterDict({kind: nn.Parameter(_START * torch.randn(shape)) for kind in KINDS})
        self.betas = nn.ParameterDict(
            {kind: nn.Parameter(_START * torch.randn(shape[0])) for kind in KINDS} if partial > 1 else {}
        )
        without_running_statistics(self)

    def forward(self, x: Tensor, mixing: Mixing) -> Tensor:
        """x: [N, channels, H, W] -> logits [N, classes]."""
        nodes = [CellState(self.stem(x.contiguous(memory_format=torch.channels_last)))]
        before_last = last = rectified_output(nodes)
        for number, cell in enumerate(cast(Iterable[MixedCell], self.cells), start=1):
            nodes = cell(before_last, last, mixing[cell.kind])
            if number < len(self.cells):
                before_last, last = last, rectified_output(nodes)
        logits: Tensor = self.classifier(torch.cat([node.whole.mean((2, 3)) for node in nodes], dim=1))
        return logits

    def architecture(self) -> list[nn.Parameter]:
        """Returns the alphas, then the betas."""
        return [*self.alphas.values(), *self.betas.values()]

    def weights(self) -> list[nn.Parameter]:
        """Returns all parameters that are not alphas or betas."""
        architecture = {id(parameter) for parameter in self.architecture()}
        return [parameter for parameter in self.parameters() if id(parameter) not in architecture]
