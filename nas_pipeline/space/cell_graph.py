"""Graphs of cells and their layout for drawing. Imports neither torch nor matplotlib.

States are placed in columns by their depth. Every operation has its own line, to the left of the node that adds it up,
so that operations never overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.space.cell import CellSpace
from nas_pipeline.space.cell_plan import INPUTS, BenchmarkPlan, Cell, CellPlan
from nas_pipeline.space.choosers import replay
from nas_pipeline.space.nasbench201 import NasBench201Space

GraphPoint = tuple[float, float]
"""(column, line); lines count downwards."""

OP_BEFORE_NODE = 0.46
"""Columns from an operation to its node."""

_OUTPUT_AFTER_NODE = 0.55


@dataclass(frozen=True, slots=True)
class Edge:
    """An operation on state `source`, part of the sum that is state `target`."""

    source: int
    target: int
    op: str


@dataclass(frozen=True, slots=True)
class CellGraph:
    """States by number, of which the first `inputs` are inputs; the output concatenates the states in `outputs`."""

    title: str
    states: tuple[str, ...]
    inputs: int
    edges: tuple[Edge, ...]
    outputs: tuple[int, ...]
    output: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of the states, of the operation of each edge and of the output, on an area of `columns` by `lines`."""

    states: tuple[GraphPoint, ...]
    ops: tuple[GraphPoint, ...]
    output: GraphPoint
    columns: float
    lines: int


def graphs_of(genotype: Genotype) -> tuple[CellGraph, ...]:
    """Return the graphs of the cells of a genotype; an empty tuple if its space has no cells.

    Raises:
        SpaceError: `genotype` is not a member of its space.
    """
    if (genotype.space, genotype.version) not in _GRAPHS:
        return ()
    space, draw = _GRAPHS[genotype.space, genotype.version]
    return draw(replay(space, genotype))


def layout(graph: CellGraph) -> Layout:
    """Compute the positions of all parts of `graph`."""
    depth = [0] * len(graph.states)
    for edge in sorted(graph.edges, key=lambda edge: edge.target):
        depth[edge.target] = max(depth[edge.target], depth[edge.source] + 1)
    ops: dict[int, GraphPoint] = {}
    states: dict[int, GraphPoint] = {}
    line = 0
    for state in range(graph.inputs, len(graph.states)):
        into = [number for number, edge in enumerate(graph.edges) if edge.target == state]
        for number in into:
            ops[number] = (depth[state] - OP_BEFORE_NODE, line + into.index(number))
        lines = max(1, len(into))
        states[state] = (depth[state], line + (lines - 1) / 2)
        line += lines
    for state in range(graph.inputs):
        states[state] = (0, (state + 0.5) * line / graph.inputs - 0.5)
    last = max(depth) + _OUTPUT_AFTER_NODE
    return Layout(
        states=tuple(states[state] for state in range(len(graph.states))),
        ops=tuple(ops[number] for number in range(len(graph.edges))),
        output=(last, (line - 1) / 2), columns=last, lines=line,
    )


def _of_cells(plan: CellPlan) -> tuple[CellGraph, ...]:
    titles = {"normal": "normal cell", "reduce": "reduction cell"}
    return tuple(_of_cell(titles[kind], cell) for kind, cell in plan.kinds())


def _of_cell(title: str, cell: Cell) -> CellGraph:
    edges = tuple(
        Edge(source, target, op)
        for target, node in enumerate(cell.nodes, start=INPUTS)
        for source, op in zip(node.inputs, node.ops, strict=True)
    )
    names = ("c(k-2)", "c(k-1)", *(str(number) for number in range(len(cell.nodes))))
    return CellGraph(title, names, INPUTS, edges, cell.concat, "c(k)")


def _of_benchmark(plan: BenchmarkPlan) -> tuple[CellGraph, ...]:
    edges = tuple(
        Edge(source, target, op)
        for target, node in enumerate(plan.edges, start=1) for source, op in enumerate(node) if op != "none"
    )
    names = ("in", *(str(number) for number in range(1, len(plan.edges) + 1)))
    return (CellGraph("cell", names, 1, edges, (len(plan.edges),), "out"),)


_Draw = Callable[[Any], tuple[CellGraph, ...]]
"""Function of a plan that returns the graphs of its cells."""

_GRAPHS: dict[tuple[str, int], tuple[Any, _Draw]] = {
    (CellSpace.name, CellSpace.version): (CellSpace(), _of_cells),
    (NasBench201Space.name, NasBench201Space.version): (NasBench201Space(), _of_benchmark),
}
