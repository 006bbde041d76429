"""The space of NAS-Bench-201: one cell of four states, an operation on each of its six edges, 15,625 members.

Source: Dong and Yang, arXiv:2001.00326, sections 2.1 and 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas_pipeline.core.genotype import Gene, Genotype
from nas_pipeline.core.protocols import Chooser
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.cell_plan import NODES, BenchmarkPlan
from nas_pipeline.space.choosers import replay
from nas_pipeline.space.domains import BENCHMARK_PRIMITIVES, OPERATION, WIDTH, Whole
from nas_pipeline.space.options import opened

if TYPE_CHECKING:
    from torch import nn  # decisions need no torch

class NasBench201Space:
    """Stem, three stages of equal cells with a residual reduction between them, global average pooling, linear."""

    name = "nasbench201"
    version = 1

    def __init__(
        self, widths: Sequence[int] = (16,), cells: Sequence[int] = (5,), ops: Sequence[str] = BENCHMARK_PRIMITIVES
    ) -> None:
        """Options list the values of the decisions of these names; `cells` is per stage, `ops` are names of OPS."""
        self._widths = opened("widths", widths, WIDTH)
        self._cells = opened("cells", cells, Whole(1, 64))
        self._ops = opened("ops", ops, OPERATION)

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "widths": self._widths,
            "cells": self._cells,
            "ops": self._ops,
        }}

    def decide(self, choose: Chooser) -> BenchmarkPlan:
        """Decide the sizes, then each edge."""
        width = choose.one_of("width", self._widths)
        cells = choose.one_of("cells", self._cells)
        edges = tuple(
            tuple(choose.one_of(_edge(node, source), self._ops) for source in range(node))
            for node in range(1, NODES + 1)
        )
        return BenchmarkPlan(width, cells, edges)

    def build(self, plan: BenchmarkPlan, spec: InputSpec) -> nn.Module:
        """Build the network of `plan`. Each of the two reductions halves the feature map, rounded up."""
        from nas_pipeline.space.nasbench201_network import benchmark_network

        return benchmark_network(plan, spec)


def from_architecture(text: str, width: int = 16, cells: int = 5) -> Genotype:
    """Return the genotype of an architecture in the notation of the benchmark.

    An example is `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|`: for every
    node, each edge with its source state.

    Raises:
        SpaceError: The text is not in this notation, or an operation is not in the catalogue.
    """
    nodes = [re.findall(r"\|([^|~]+)~(\d+)(?=\|)", node) for node in text.strip().split("+")]
    wanted = [[str(source) for source in range(node)] for node in range(1, NODES + 1)]
    written = "+".join("".join(f"|{op}~{source}" for op, source in node) + "|" for node in nodes)
    if [[source for _, source in node] for node in nodes] != wanted or written != text.strip():
        raise SpaceError(f"not a NAS-Bench-201 architecture: {text!r:.200}; write |op~0|+|op~0|op~1|+|op~0|op~1|op~2|")
    genes: list[tuple[str, Gene]] = [("width", width), ("cells", cells)]
    genes += [(_edge(number, int(source)), op) for number, node in enumerate(nodes, start=1) for op, source in node]
    genotype = Genotype(NasBench201Space.name, NasBench201Space.version, tuple(genes))
    replay(NasBench201Space(), genotype)
    return genotype


def architecture_of(plan: BenchmarkPlan) -> str:
    """Return `plan` in the notation of the benchmark."""
    return "+".join("".join(f"|{op}~{source}" for source, op in enumerate(node)) + "|" for node in plan.edges)


def _edge(node: int, source: int) -> str:
    return f"node{node}.from{source}"
