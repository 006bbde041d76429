"""Discretisation: from alphas to strengths, and from picks to a plan and a genotype of the space `cell`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.search.differentiable.derivation.integer_program import Picks
from nas_pipeline.search.differentiable.network.mixing import INPUTS, edge_softmax, edges
from nas_pipeline.search.differentiable.settings import Settings
from nas_pipeline.space.cell import genotype_of
from nas_pipeline.space.cell_plan import Cell, CellPlan, Node

NestedNumbers = Sequence[Sequence[float]]
"""A table [E, O] as JSON holds it."""


def strengths(
    alphas: Mapping[str, Tensor], betas: Mapping[str, Tensor]
) -> dict[str, NDArray[np.float64]]:
    """Returns kind -> [E, O]: softmax over the operations, times the share of the edge where edges have weights.

    Args:
        alphas: Kind -> [E, O].
        betas: Kind -> [E]; empty where edges have no weights.
    """
    tables = {}
    for kind, table in alphas.items():
        shares = table.detach().double().cpu().softmax(dim=1)
        if kind in betas:
            shares = shares * edge_softmax(betas[kind].detach().double().cpu())[:, None]
        tables[kind] = shares.numpy()
    return tables


def strengths_of_row(row: Mapping[str, Mapping[str, NestedNumbers]]) -> dict[str, NDArray[np.float64]]:
    """Returns the strengths from `alphas` and `betas` in the row of an epoch."""
    alphas = {kind: torch.tensor(table) for kind, table in row["alphas"].items()}
    return strengths(alphas, {kind: torch.tensor(table) for kind, table in row["betas"].items()})


def plan_of(picks: Picks, settings: Settings) -> CellPlan:
    """Returns the plan of the network with these cells, of width `eval_width` and depth `eval_cells`."""
    cells = {}
    for kind, pairs in picks.items():
        nodes: list[list[tuple[int, str]]] = [[] for _ in range(settings.nodes)]
        for edge, op in pairs:
            source, node = edges(settings.nodes)[edge]
            nodes[node].append((source, op))
        cells[kind] = Cell(tuple(_node(pair) for pair in nodes), tuple(range(INPUTS, INPUTS + settings.nodes)))
    return CellPlan(settings.eval_width, settings.eval_cells, cells["normal"], cells["reduce"])


def genotype_from(picks: Picks, settings: Settings) -> Genotype:
    """Returns the genotype of the network with these cells."""
    return genotype_of(plan_of(picks, settings))


def _node(pair: list[tuple[int, str]]) -> Node:
    (a, first), (b, second) = sorted(pair)
    return Node((a, b), (first, second))
