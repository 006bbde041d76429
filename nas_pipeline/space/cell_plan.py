"""Decoded networks of cells: the plans of the spaces `cell` and `nasbench201`. Plain values without torch."""

from __future__ import annotations

from dataclasses import dataclass

INPUTS = 2
"""States of a cell that are not nodes."""

NODES = 3
"""States of a cell of NAS-Bench-201 after its input; each has an edge from every earlier state."""


@dataclass(frozen=True, slots=True)
class Node:
    """The sum of `ops[0]` on state `inputs[0]` and `ops[1]` on state `inputs[1]`; `inputs` ascend."""

    inputs: tuple[int, int]
    ops: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Cell:
    """A graph: node n is state n + 2; the output is the concatenation of the states in `concat`."""

    nodes: tuple[Node, ...]
    concat: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CellPlan:
    """A decoded network. Nodes have `width` channels before the first reduction; each reduction doubles them."""

    width: int
    cells: int
    normal: Cell
    reduce: Cell

    def kinds(self) -> tuple[tuple[str, Cell], tuple[str, Cell]]:
        """Return the two cells with their names in genes."""
        return ("normal", self.normal), ("reduce", self.reduce)


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """A decoded network of NAS-Bench-201: three stages of `cells` equal cells, `width` channels in the first stage.

    `edges[n][s]` is the operation from state s to state n + 1.
    """

    width: int
    cells: int
    edges: tuple[tuple[str, ...], ...]
