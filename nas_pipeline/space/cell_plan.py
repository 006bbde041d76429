"""Decoded networks of cells: the plans of the spaces `cell` and `nasbench201`. Plain values without torch."""

from __future__ import annotations

from dataclasses import dataclass

INPUTS = 2
"""States of a cell that are not nodes."""

NODES = 3
"""States behind the cell's input; each has an edge from every earlier state."""


@dataclass(frozen=True, slots=True)
class Node:
    """The sum of `ops[0]` on state `inputs[0]` and `ops[1]` on state `inputs[1]`; inputs ascend."""

    inputs: tuple[int, int]
    ops: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Cell:
    """A graph: node n is state n + 2; the output is the states of `concat` side by side."""

    nodes: tuple[Node, ...]
    concat: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CellPlan:
    """A decoded network: `width` channels in the nodes before the first reduction, doubled by each of the two."""

    width: int
    cells: int
    normal: Cell
    reduce: Cell

    def kinds(self) -> tuple[tuple[str, Cell], tuple[str, Cell]]:
        """The two cells with the names that they have in genes."""
        return ("normal", self.normal), ("reduce", self.reduce)


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """`cells` of them in each of three stages, `width` channels in the first; `edges[n][s]` leads from s to n + 1."""

    width: int
    cells: int
    edges: tuple[tuple[str, ...], ...]
