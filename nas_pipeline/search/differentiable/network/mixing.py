"""Mixings, the weights of candidate operations: softmax (DARTS), with edge weights (PC-DARTS), one sample (GDAS).

A mixing is computed from the architecture parameters before each forward pass, and is an argument of the pass. For each
kind of cell it has one row per edge and one column per operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KINDS = ("normal", "reduce")
"""The kinds of cells. All cells of one kind share their architecture parameters."""

INPUTS = 2
"""States a cell starts with: the outputs of the two cells before it."""


@dataclass(frozen=True, slots=True)
class KindMixing:
    """Weights for the E edges and O operations of one kind of cell."""

    op_weights: Tensor
    """[E, O]"""
    edge_weights: Tensor | None = None
    """[E], factors of the outputs of the edges; None is 1 everywhere."""
    chosen: Tensor | None = None
    """[E], whole numbers: only this operation of an edge is computed. None computes all."""


Mixing = Mapping[str, KindMixing]
"""A `KindMixing` for each of `KINDS`."""


class HasArchitecture(Protocol):
    """The architecture parameters of a network: alphas [E, O] and betas [E] of each kind; betas can be empty."""

    alphas: nn.ParameterDict
    betas: nn.ParameterDict


def edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """Returns (source, node) of every edge, in the order of the rows of alphas: node by node, sources ascending.

    Sources 0 and 1 are the cell's inputs; source 2 + i is node i. Nodes are counted from 0.
    """
    return tuple((source, node) for node in range(nodes) for source in range(INPUTS + node))


def softmax_mixing(net: HasArchitecture) -> dict[str, KindMixing]:
    """Returns the softmax over the operations of each edge.

    Source: Liu et al., DARTS, arXiv:1806.09055, equation 2.
    """
    return {kind: KindMixing(F.softmax(net.alphas[kind], dim=1)) for kind in KINDS}


def partial_mixing(net: HasArchitecture) -> dict[str, KindMixing]:
    """Returns the softmax over the operations of each edge, and over the edges that enter each node.

    Source: Xu et al., PC-DARTS, arXiv:1907.05737, equations 3 and 4.
    """
    return {
        kind: KindMixing(F.softmax(net.alphas[kind], dim=1), edge_weights=edge_softmax(net.betas[kind]))
        for kind in KINDS
    }


def gumbel_mixing(net: HasArchitecture, temperature: float, generator: torch.Generator) -> dict[str, KindMixing]:
    """Returns one sampled operation per edge, with the gradients of the softened sample.

    The weight of the sampled operation is 1. Betas, if the network has any, weight the edges as in `partial_mixing`.

    Args:
        net: The search network.
        temperature: Of the Gumbel softmax, above 0.
        generator: On the device of the alphas.

    Source: Dong and Yang, GDAS, arXiv:1910.04465, equations 3 to 6.
    """
    mixing = {}
    for kind in KINDS:
        alphas = net.alphas[kind]
        noise = torch.empty_like(alphas).exponential_(generator=generator).log().neg()  # Gumbel(0, 1)
        soft = F.softmax((F.log_softmax(alphas, dim=1) + noise) / temperature, dim=1)
        chosen = soft.detach().argmax(dim=1)
        hard = F.one_hot(chosen, alphas.shape[1]).to(soft.dtype)
        # In this order the value is exactly 1 or 0: the difference of equal numbers is exactly 0.
        straight_through = hard + (soft - soft.detach())
        betas = net.betas.get(kind)
        mixing[kind] = KindMixing(straight_through, None if betas is None else edge_softmax(betas), chosen)
    return mixing


def edge_softmax(betas: Tensor) -> Tensor:
    """Returns the softmax of betas [E] over the edges that enter each node."""
    parts, first, width = [], 0, INPUTS
    while first < len(betas):
        parts.append(F.softmax(betas[first:first + width], dim=0))
        first, width = first + width, width + 1
    return torch.cat(parts)
