"""The space of NAS-Bench-201: one cell of four states, an operation on each of its six edges, 15,625 members.

Source: Dong and Yang, arXiv:2001.00326, sections 2.1 and 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_pipeline.core.genotype import Gene, Genotype
from nas_pipeline.core.protocols import Chooser
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.choosers import replay
from nas_pipeline.space.domains import OPERATION, WIDTH, Whole
from nas_pipeline.space.options import opened
from nas_pipeline.space.primitives import BENCHMARK_PRIMITIVES

if TYPE_CHECKING:
    from torch import nn  # decisions are answered without torch

NODES = 3
"""States behind the cell's input; each has an edge from every earlier state."""


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """`cells` of them in each of three stages, `width` channels in the first; `edges[n][s]` leads from s to n + 1."""

    width: int
    cells: int
    edges: tuple[tuple[str, ...], ...]


class NasBench201Space:
    """Stem, three stages of equal cells with a residual reduction between them, global average pooling, linear."""

    name = "nasbench201"
    version = 1

    def __init__(
        self, widths: Sequence[int] = (16,), cells: Sequence[int] = (5,), ops: Sequence[str] = BENCHMARK_PRIMITIVES
    ) -> None:
        """Options set the decisions of these names; `cells` are those of one stage, `ops` names of OPS."""
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
        """Ask the sizes, then each edge."""
        width = choose.one_of("width", self._widths)
        cells = choose.one_of("cells", self._cells)
        edges = tuple(
            tuple(choose.one_of(_edge(node, source), self._ops) for source in range(node))
            for node in range(1, NODES + 1)
        )
        return BenchmarkPlan(width, cells, edges)

    def build(self, plan: BenchmarkPlan, spec: InputSpec) -> nn.Module:
        """The network of `plan`; each of the two reductions halves the map, rounded up."""
        from nas_pipeline.space.nasbench201_network import benchmark_network

        return benchmark_network(plan, spec)


def from_architecture(text: str, width: int = 16, cells: int = 5) -> Genotype:
    """The genotype of an architecture as the benchmark writes it.

    That is `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|`: node after node, each edge with
    the state that it leads from.

    Raises:
        SpaceError: It is written in another way, or an operation is none of the catalogue.
    """
    nodes = [re.findall(r"\|([^|~]+)~(\d+)(?=\|)", node) for node in text.strip().split("+")]
    wanted = [[str(source) for source in range(node)] for node in range(1, NODES + 1)]
    written = "+".join("".join(f"|{op}~{source}" for op, source in node) + "|" for node in nodes)
    if [[source for _, source in node] for node in nodes] != wanted or written != text.strip():
        raise SpaceError(f"no architecture of NAS-Bench-201: {text!r:.200}; write |op~0|+|op~0|op~1|+|op~0|op~1|op~2|")
    genes: list[tuple[str, Gene]] = [("width", width), ("cells", cells)]
    genes += [(_edge(number, int(source)), op) for number, node in enumerate(nodes, start=1) for op, source in node]
    genotype = Genotype(NasBench201Space.name, NasBench201Space.version, tuple(genes))
    replay(NasBench201Space(), genotype)
    return genotype


def architecture_of(plan: BenchmarkPlan) -> str:
    """`plan` as the benchmark writes it."""
    return "+".join("".join(f"|{op}~{source}" for source, op in enumerate(node)) + "|" for node in plan.edges)


def _edge(node: int, source: int) -> str:
    return f"node{node}.from{source}"
