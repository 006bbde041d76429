"""Cost tables: the cost of each operation on each edge of the derived network, and the expected cost of a mixing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.search.differentiable.derivation.integer_program import INPUTS_PER_NODE, NONE
from nas_pipeline.search.differentiable.network.mixing import INPUTS, KINDS, KindMixing, edges
from nas_pipeline.space.cell_network import reductions
from nas_pipeline.space.ops import OPS

OperationCost = Callable[[nn.Module, tuple[int, int, int]], float]
"""(operation, shape [C, H, W] of its input) -> its cost: milliseconds on this host, or parameters."""


@dataclass(frozen=True, slots=True)
class CellShape:
    """One cell of a network: its kind, the channels of its states, and the size of its input map."""

    kind: str
    channels: int
    height: int
    width: int


def cell_shapes(width: int, cells: int, spec: InputSpec) -> Iterator[CellShape]:
    """Yields the cells in order: a reduction halves the map, rounded up, and doubles the channels.

    Args:
        width: Channels of a state in the first cells.
        cells: Number of cells.
        spec: Height and width of the images are used.
    """
    channels, rows, columns = width, spec.height, spec.width
    for cell in range(cells):
        reduce = cell in reductions(cells)
        channels = 2 * channels if reduce else channels
        yield CellShape("reduce" if reduce else "normal", channels, rows, columns)
        if reduce:
            rows, columns = (rows + 1) // 2, (columns + 1) // 2


def cost_table(
    ops: Sequence[str], nodes: int, width: int, cells: int, spec: InputSpec, operation_cost: OperationCost
) -> dict[str, NDArray[np.float64]]:
    """Returns kind -> [E, O]: the cost of an operation on an edge, summed over the cells of that kind.

    The cost of `none` is 0. Every distinct (operation, channels, stride, map) is built and measured once.

    Args:
        ops: Names of the columns.
        nodes: Inner nodes of a cell.
        width: Channels of a state in the first cells of the derived network.
        cells: Cells of the derived network.
        spec: Shape of the images.
        operation_cost: Measures one operation.
    """
    known: dict[tuple[object, ...], float] = {}

    def measured(op: str, channels: int, stride: int, rows: int, columns: int) -> float:
        key = (op, channels, stride, rows, columns)
        if key not in known:
            operation = OPS.make(op, channels_in=channels, channels_out=channels, stride=stride).eval()
            known[key] = operation_cost(operation, (channels, rows, columns))
        return known[key]

    tables = {kind: np.zeros((len(edges(nodes)), len(ops))) for kind in KINDS}
    with torch.random.fork_rng(devices=[]):
        for shape in cell_shapes(width, cells, spec):
            reduced = shape.kind == "reduce"
            for edge, (source, _) in enumerate(edges(nodes)):
                halves = reduced and source < INPUTS
                shrink = 2 if reduced and not halves else 1
                rows, columns = -(-shape.height // shrink), -(-shape.width // shrink)
                for column, op in enumerate(ops):
                    if op != NONE:
                        tables[shape.kind][edge, column] += measured(
                            op, shape.channels, 2 if halves else 1, rows, columns
                        )
    return tables


def count_params(operation: nn.Module, shape: tuple[int, int, int]) -> float:
    """Returns the number of trainable parameters of `operation`; an `OperationCost`."""
    return float(sum(parameter.numel() for parameter in operation.parameters() if parameter.requires_grad))


def expected_cost(
    mixing: Mapping[str, KindMixing], tables: Mapping[str, Tensor], ops: Sequence[str]
) -> Tensor:
    """Returns the expected cost of a network drawn from the mixing: a scalar with a gradient.

    A derived node has two inputs, so an edge counts by its share of the edges that enter the node, times two. On an
    edge an operation counts by its share among all operations except `none`, which is never part of a derived cell.

    Args:
        mixing: Of the search network.
        tables: The cost table, as tensors.
        ops: Names of the columns.

    Source: Cai et al., ProxylessNAS, arXiv:1812.00332, equation 2 (expected latency).
    """
    real = [column for column, op in enumerate(ops) if op != NONE]
    total = torch.zeros(())
    for kind, table in tables.items():
        weights = mixing[kind].op_weights[:, real]
        shares = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)
        edge_shares = mixing[kind].edge_weights
        if edge_shares is None:
            edge_shares = even_shares(len(table)).to(shares)
        total = total.to(shares) + INPUTS_PER_NODE * (edge_shares * (shares * table[:, real].to(shares)).sum(1)).sum()
    return total


def even_shares(count: int) -> Tensor:
    """Returns [E]: the share of each edge where all edges that enter a node have equal weights.

    Args:
        count: Number of edges of a cell, E.
    """
    shares: list[float] = []
    inputs = INPUTS
    while len(shares) < count:
        shares += [1 / inputs] * inputs
        inputs += 1
    return torch.tensor(shares)
