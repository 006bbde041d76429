"""A cell in which every edge is a weighted sum of all candidate operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from nas_pipeline.search.differentiable.candidates import candidates, is_nothing
from nas_pipeline.search.differentiable.mixing import INPUTS, KindMixing, edges
from nas_pipeline.space.cell_ops import FactorizedReduce, ReluConvBn


class MixedCell(nn.Module):
    """[N, C_before_last, H', W'], [N, C_last, H, W] -> [N, nodes * channels, H / stride, W / stride].

    With `partial` above 1 the candidates see the first 1 / partial of the channels of each state; the others pass by,
    and a shuffle spreads both over the state. Source: Xu et al., PC-DARTS, arXiv:1907.05737, section 3.2.
    """

    def __init__(
        self, before_last: int, last: int, channels: int, *,
        nodes: int, ops: Sequence[str], reduce: bool, after_reduce: bool, partial: int,
    ) -> None:
        """`before_last` and `last` are the channels of the two inputs; `after_reduce`: the first is twice as large."""
        super().__init__()
        self.kind = "reduce" if reduce else "normal"
        self.nodes = nodes
        self.partial = partial
        self.preprocess0 = (
            FactorizedReduce(before_last, channels, affine=False) if after_reduce
            else ReluConvBn(before_last, channels, affine=False)
        )
        self.preprocess1 = ReluConvBn(last, channels, affine=False)
        self.edges = nn.ModuleList(
            nn.ModuleList(candidates(ops, channels // partial, 2 if reduce and source < INPUTS else 1))
            for source, _ in edges(nodes)
        )
        self.halve = nn.MaxPool2d(2, 2, ceil_mode=True)

    def forward(self, before_last: Tensor, last: Tensor, mixing: KindMixing) -> Tensor:
        """The nodes, side by side."""
        states = [self.preprocess0(before_last), self.preprocess1(last)]
        chosen = None if mixing.chosen is None else mixing.chosen.tolist()
        edge = 0
        for node in range(self.nodes):
            terms = []
            for source in range(INPUTS + node):
                halves = self.kind == "reduce" and source < INPUTS
                terms.append(self._edge(edge, states[source], mixing, chosen, halves))
                edge += 1
            states.append(torch.stack(terms).sum(0))
        return torch.cat(states[INPUTS:], dim=1)

    def _edge(self, edge: int, state: Tensor, mixing: KindMixing, chosen: list[int] | None, halves: bool) -> Tensor:
        seen = state.shape[1] // self.partial
        total = None
        for column, candidate in enumerate(cast(nn.ModuleList, self.edges[edge])):
            if (chosen is not None and column != chosen[edge]) or is_nothing(candidate):
                continue
            term = candidate(state[:, :seen]) * mixing.op_weights[edge, column]
            total = term if total is None else total + term
        if total is None:
            total = state[:, :seen, :: 2 if halves else 1, :: 2 if halves else 1] * 0
        if self.partial > 1:
            rest = state[:, seen:]
            total = shuffle(torch.cat((total, self.halve(rest) if halves else rest), dim=1), self.partial)
        return total if mixing.edge_weights is None else total * mixing.edge_weights[edge]


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Channel j of group i becomes channel j * groups + i."""
    images, channels, height, width = x.shape
    return x.reshape(images, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)
