"""A cell in which every edge is a weighted sum of all candidate operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_pipeline.search.differentiable.network.candidates import candidates, term_kind
from nas_pipeline.search.differentiable.network.mixing import INPUTS, KindMixing, edges
from nas_pipeline.search.differentiable.network.node_terms import NodeTerms
from nas_pipeline.search.differentiable.network.states import CellState, preprocessed
from nas_pipeline.space.cell_ops import FactorizedReduce, ReluConvBn


class MixedCell(nn.Module):
    """[N, C_before_last, H', W'], [N, C_last, H, W] -> nodes, each [N, channels, H / stride, W / stride].

    The inputs are rectified outputs of the two cells before (`states.rectified_output`).

    With `partial` above 1 the candidates process the first 1 / partial of the channels of each state; the others bypass
    the candidates, and a shuffle distributes both over the state. Source: Xu et al., PC-DARTS, arXiv:1907.05737,
    section 3.2.
    """

    def __init__(
        self, before_last: int, last: int, channels: int, *,
        nodes: int, ops: Sequence[str], reduce: bool, after_reduce: bool, partial: int,
    ) -> None:
        """Creates the candidates of all edges.

        Args:
            before_last: Channels of the first input.
            last: Channels of the second input.
            channels: Channels of a state.
            nodes: Inner nodes.
            ops: Rows of OPS.
            reduce: Whether the cell halves the map.
            after_reduce: Whether the first input has twice the height and width of the second.
            partial: 1 / partial of the channels pass through the candidates.
        """
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
        self._candidates = [
            [(candidate, term_kind(candidate)) for candidate in cast(nn.ModuleList, edge)] for edge in self.edges
        ]

    def forward(self, before_last: Tensor, last: Tensor, mixing: KindMixing) -> list[CellState]:
        """Returns the nodes.

        Args:
            before_last: First input.
            last: Second input.
            mixing: Weights for this kind of cell.
        """
        states = [
            CellState(preprocessed(self.preprocess0, before_last), self.partial),
            CellState(preprocessed(self.preprocess1, last), self.partial),
        ]
        weights = mixing.op_weights
        if mixing.edge_weights is not None:
            weights = weights * mixing.edge_weights[:, None]
        chosen = None if mixing.chosen is None else mixing.chosen.tolist()
        row = 0
        for node in range(self.nodes):
            terms, bypassed = NodeTerms(), None
            for source, state in enumerate(states[:INPUTS + node]):
                for column in range(len(self._candidates[row])) if chosen is None else (chosen[row],):
                    terms.add(state, *self._candidates[row][column], (row, column))
                if self.partial > 1:
                    rest = self._bypass(state, source)
                    rest = rest if mixing.edge_weights is None else rest * mixing.edge_weights[row]
                    bypassed = rest if bypassed is None else bypassed + rest
                row += 1
            total = terms.total(weights)
            if total is None:  # only "none" was chosen
                total = self._zeros(states[0])
            if bypassed is not None:
                total = shuffle(torch.cat((total, bypassed), dim=1), self.partial)
            states.append(CellState(total, self.partial))
        return states[INPUTS:]

    def _bypass(self, state: CellState, source: int) -> Tensor:
        """Returns the channels that no candidate processes, at the size of a node."""
        if self.kind == "reduce" and source < INPUTS:
            return state.once("halved", lambda: F.max_pool2d(state.rest, 2, 2, ceil_mode=True))
        return state.rest

    def _zeros(self, state: CellState) -> Tensor:
        step = 2 if self.kind == "reduce" else 1
        return torch.zeros_like(state.processed[:, :, ::step, ::step])


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Shuffles the channels of x [N, C, H, W]: channel j of group i becomes channel j * groups + i."""
    images, channels, height, width = x.shape
    return x.reshape(images, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)
