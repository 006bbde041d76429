from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from nas_pipeline.core.genotype import Gene, Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError, SpaceError
from nas_pipeline.space.baselines import BASELINES
from nas_pipeline.space.cell import CellSpace, genotype_of, resized
from nas_pipeline.space.cell_plan import Cell, CellPlan, Node
from nas_pipeline.space.choosers import replay, sample
from nas_pipeline.space.enumeration import size

NODES = (Node((0, 1), ("sep_conv_3x3", "skip_connect")), Node((0, 2), ("max_pool_3x3", "dil_conv_5x5")))
CELL = Cell(NODES, (2, 3))
PLAN = CellPlan(4, 4, CELL, CELL)


def changed(genotype: Genotype, **genes: Gene) -> Genotype:
    new = {name.replace("__", "."): value for name, value in genes.items()}
    return replace(genotype, genes=tuple((name, new.get(name, value)) for name, value in genotype.genes))


def test_the_size_of_the_space() -> None:
    assert size(CellSpace()) == (180 * 7**8) ** 2
    assert f"{size(CellSpace()):.3g}" == "1.08e+18"


def test_genes_are_those_of_the_contract() -> None:
    genes = genotype_of(PLAN).genes
    assert genes[:3] == (("width", 4), ("cells", 4), ("nodes", 2))
    assert genes[3:10] == (
        ("normal.node0.inputs", "0-1"), ("normal.node0.op0", "sep_conv_3x3"), ("normal.node0.op1", "skip_connect"),
        ("normal.node1.inputs", "0-2"), ("normal.node1.op0", "max_pool_3x3"), ("normal.node1.op1", "dil_conv_5x5"),
        ("normal.concat", "2-3"),
    )
    assert [name for name, _ in genes[10:]] == [name.replace("normal", "reduce") for name, _ in genes[3:10]]


def test_plan_and_genotype_are_two_ways_to_say_it() -> None:
    for space in (CellSpace(), CellSpace(widths=[36], cells=[20], nodes=3, ops=["sep_conv_7x7", "skip"][1:])):
        for seed in range(10):
            genotype = sample(space, random.Random(seed))
            assert genotype_of(replay(space, genotype)) == genotype
    assert replay(CellSpace(), genotype_of(PLAN)) == PLAN


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(PLAN, normal=Cell((Node((0, 1), ("sep_conv_7x7", "skip_connect")), NODES[1]), (2, 3))),
         r"'normal\.node0\.op0' holds 'sep_conv_7x7'.*any operation in `nas catalog`"),
        (replace(PLAN, normal=Cell((Node((1, 0), ("skip", "skip")), NODES[1]), (2, 3))), r"'normal\.node0\.inputs'"),
        (replace(PLAN, reduce=Cell((NODES[0], Node((0, 3), ("skip", "skip"))), (2, 3))), r"'reduce\.node1\.inputs'"),
        (replace(PLAN, reduce=Cell(NODES, (2, 4))), r"'reduce\.concat' holds '2-4'.*ascending numbers from 2 to 3"),
        (replace(PLAN, reduce=Cell(NODES[:1], (2,))), r"'reduce\.node1\.inputs' is missing"),
        (replace(PLAN, cells=2), r"'cells' holds 2.*whole numbers from 3 to 200"),
    ],
)
def test_what_is_no_plan_is_no_genotype(plan: CellPlan, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        genotype_of(plan)


def test_a_genotype_of_another_version_is_refused() -> None:
    with pytest.raises(SpaceError, match="of space 'cell' version 2, not of 'cell' version 1"):
        replay(CellSpace(), replace(genotype_of(PLAN), version=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ops": ["sep_conv_3x3", "sep_conv_7x7"]}, r"'ops' holds \['sep_conv_7x7'\]; give any operation"),
        ({"cells": [1]}, r"'cells' holds \[1\]; give whole numbers from 3 to 200"),
        ({"widths": [0]}, "'widths' holds"),
        ({"nodes": 0}, "'nodes' holds"),
        ({"nodes": 2.0}, "'nodes' holds"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CellSpace(**options)  # type: ignore[arg-type]


def test_another_size_of_the_same_cells() -> None:
    genotype = genotype_of(PLAN)
    assert resized(genotype) == genotype
    assert replay(CellSpace(), resized(genotype, width=8)) == replace(PLAN, width=8)
    assert replay(CellSpace(), resized(genotype, 8, 6)) == replace(PLAN, width=8, cells=6)
    with pytest.raises(SpaceError, match=r"space 'residual' has no gene cells and no width; leave that size out"):
        resized(BASELINES["dense_residual"], 8, 6)


def test_decisions_take_no_torch() -> None:
    code = (
        "import random, sys\n"
        "from nas_pipeline.space import SPACES\n"
        "from nas_pipeline.space.choosers import replay, sample\n"
        "from nas_pipeline.space.published import PUBLISHED\n"
        "for name in ('cell', 'nasbench201'):\n"
        "    space = SPACES.make(name)\n"
        "    replay(space, sample(space, random.Random(0)))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_more_nodes_than_usual_are_built() -> None:
    genotype = sample(CellSpace(widths=[2], cells=[3], nodes=5), random.Random(0))
    spec = InputSpec(1, 8, 8, 3)
    net = CellSpace().build(replay(CellSpace(), genotype), spec)
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_a_part_of_the_nodes_may_be_the_output() -> None:
    genotype = changed(genotype_of(PLAN), normal__concat="3")
    assert replay(CellSpace(), genotype).normal.concat == (3,)
