"""The space of networks that stack two kinds of cells, normal and reduction; each cell is a small graph of operations.

A cell has two inputs, the outputs of the two previous cells (states 0 and 1), and nodes (states 2 and up). A node is
the sum of two operations, each on an earlier state. Source: Liu et al., arXiv:1806.09055, sections 2.1 and 3.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from nas_pipeline.core.genotype import Gene, Genotype
from nas_pipeline.core.protocols import Chooser
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.cell_plan import INPUTS, Cell, CellPlan, Node
from nas_pipeline.space.choosers import replay
from nas_pipeline.space.domains import OPERATION, PRIMITIVES, WIDTH, NumberList, Whole
from nas_pipeline.space.options import Open, opened

if TYPE_CHECKING:
    from torch import nn  # decisions need no torch

FEWEST_CELLS = 3
"""Smallest number of cells: two reductions and one normal cell."""


class CellSpace:
    """Stem, cells with reductions at one third and two thirds of the depth, global average pooling, linear."""

    name = "cell"
    version = 1

    def __init__(
        self,
        widths: Sequence[int] = (16,),
        cells: Sequence[int] = (8,),
        nodes: int = 4,
        ops: Sequence[str] = PRIMITIVES[1:],
    ) -> None:
        """Options list the values of the decisions. `nodes` holds for both cells; `ops` are names of OPS."""
        self._widths = opened("widths", widths, WIDTH)
        self._cells = opened("cells", cells, Whole(FEWEST_CELLS, 200))
        self._nodes = opened("nodes", (nodes,), Whole(1, 16))
        self._ops = opened("ops", ops, OPERATION)

    def offers(self, option: str) -> tuple[Gene, ...]:
        """Return the values that an option offers: widths, cells, nodes or ops."""
        offered: dict[str, tuple[Gene, ...]] = {
            "widths": tuple(self._widths), "cells": tuple(self._cells), "nodes": tuple(self._nodes),
            "ops": tuple(self._ops),
        }
        return offered[option]

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "widths": self._widths,
            "cells": self._cells,
            "nodes": self._nodes,
            "ops": self._ops,
        }}

    def decide(self, choose: Chooser) -> CellPlan:
        """Decide the sizes, then the normal and the reduction cell, node by node."""
        width = choose.one_of("width", self._widths)
        cells = choose.one_of("cells", self._cells)
        nodes = choose.one_of("nodes", self._nodes)
        normal, reduce = (self._decide_cell(choose, kind, nodes) for kind in ("normal", "reduce"))
        return CellPlan(width, cells, normal, reduce)

    def build(self, plan: CellPlan, spec: InputSpec) -> nn.Module:
        """Build the network of `plan`. Each reduction halves the feature map, rounded up."""
        from nas_pipeline.space.cell_network import CellNetwork

        return CellNetwork(plan, spec)

    def _decide_cell(self, choose: Chooser, kind: str, nodes: int) -> Cell:
        decided = []
        for number in range(nodes):
            name = f"{kind}.node{number}"
            pairs = [_joined(pair) for pair in itertools.combinations(range(INPUTS + number), 2)]
            inputs = _split(choose.one_of(f"{name}.inputs", pairs))
            ops = (choose.one_of(f"{name}.op0", self._ops), choose.one_of(f"{name}.op1", self._ops))
            decided.append(Node(cast(tuple[int, int], inputs), ops))
        last = INPUTS + nodes - 1
        every = _joined(range(INPUTS, INPUTS + nodes))
        concat = choose.one_of(f"{kind}.concat", Open((every,), NumberList(INPUTS, last)))
        return Cell(tuple(decided), _split(concat))


def genotype_of(plan: CellPlan) -> Genotype:
    """Return the genotype whose plan is `plan`.

    Raises:
        SpaceError: `plan` is not a plan of this space with any options: an operation is not in the catalogue, inputs
            do not ascend, or the cells differ in size.
    """
    genes: list[tuple[str, Gene]] = [("width", plan.width), ("cells", plan.cells), ("nodes", len(plan.normal.nodes))]
    for kind, cell in plan.kinds():
        for number, node in enumerate(cell.nodes):
            name = f"{kind}.node{number}"
            genes += [(f"{name}.inputs", _joined(node.inputs)), *zip((f"{name}.op0", f"{name}.op1"), node.ops,
                                                                     strict=True)]
        genes.append((f"{kind}.concat", _joined(cell.concat)))
    genotype = Genotype(CellSpace.name, CellSpace.version, tuple(genes))
    replay(CellSpace(), genotype)
    return genotype


def resized(genotype: Genotype, width: int | None = None, cells: int | None = None) -> Genotype:
    """Return `genotype` with another width and number of cells; None leaves a value as it is.

    Raises:
        SpaceError: The genotype has no such gene.
    """
    wanted = {name: value for name, value in (("width", width), ("cells", cells)) if value is not None}
    lacking = sorted(wanted.keys() - genotype.as_dict().keys())
    if lacking:
        raise SpaceError(f"genotype {genotype.id} of space {genotype.space!r} has no gene {' and no '.join(lacking)}; "
                         "leave that size out: only genotypes of cells can be resized")
    return Genotype(genotype.space, genotype.version,
                    tuple((name, wanted.get(name, value)) for name, value in genotype.genes))


def _joined(numbers: Sequence[int]) -> str:
    return "-".join(map(str, numbers))


def _split(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("-"))
