from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.space.cell_network import CellNetwork, DropPath, add_auxiliary, reductions
from nas_pipeline.space.cell_ops import FactorizedReduce
from nas_pipeline.space.cell_plan import Cell, CellPlan, Node
from nas_pipeline.space.cost import cost

SPEC = InputSpec(3, 16, 16, 5)
CELL = Cell((Node((0, 1), ("sep_conv_3x3", "skip_connect")), Node((1, 2), ("max_pool_3x3", "dil_conv_3x3"))), (2, 3))
PLAN = CellPlan(4, 6, CELL, CELL)


def network(plan: CellPlan = PLAN, spec: InputSpec = SPEC) -> CellNetwork:
    torch.manual_seed(0)
    return CellNetwork(plan, spec)


def weights(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_maps_shrink_and_channels_double_at_one_and_two_thirds() -> None:
    shapes: list[tuple[int, ...]] = []
    net = network()
    for cell in net.cells:
        cell.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    net(torch.zeros(1, 3, 16, 16))
    assert shapes == [(8, 16, 16)] * 2 + [(16, 8, 8)] * 2 + [(32, 4, 4)] * 2
    assert reductions(20) == (6, 13)
    firsts = [isinstance(cell.get_submodule("preprocess.0"), FactorizedReduce) for cell in net.cells]
    assert firsts == [False, False, False, True, False, True], "the cell behind a reduction halves the older map"
    assert [type(cell).__name__ for cell in net.cells].count("ReductionCell") == 2


def test_a_cell_computes_its_graph() -> None:
    cell = network().eval().cells[0]
    x, y = torch.randn(2, 2, 12, 6, 6)
    earlier, latest = (cell.get_submodule(f"preprocess.{n}")(state) for n, state in enumerate((x, y)))
    edge = {name: cell.get_submodule(f"edges.{name}") for name in ("2.0", "2.1", "3.0", "3.1")}
    two = edge["2.0"](earlier) + edge["2.1"](latest)
    three = edge["3.0"](latest) + edge["3.1"](two)
    torch.testing.assert_close(cell(x, y), torch.cat([two, three], 1))
    assert torch.equal(edge["2.1"](latest), latest)


def test_nodes_that_lead_nowhere_are_not_built() -> None:
    nodes = (*CELL.nodes, Node((0, 1), ("sep_conv_5x5", "sep_conv_5x5")))
    cell = Cell(nodes, (2, 3))
    assert weights(network(replace(PLAN, normal=cell, reduce=cell))) == weights(network())


def test_a_path_is_lost_in_training_only_and_the_mean_stays() -> None:
    drop, x = DropPath(), torch.ones(4000, 1, 1, 1)
    assert drop(x) is x
    drop.probability = 0.25
    torch.manual_seed(0)
    lost = drop(x)
    assert lost.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(lost.mean()) == pytest.approx(1, abs=0.05)
    assert drop.eval()(x) is x


def test_every_edge_but_the_identity_can_be_lost() -> None:
    net = network()
    drops = [module for module in net.modules() if isinstance(module, DropPath)]
    assert len(drops) == 4 * 3 + 2 * 4, "in a reduction the skip is no identity, except from node to node"


@pytest.mark.parametrize("side", [8, 16, 17, 28])
def test_the_auxiliary_head_takes_maps_of_any_size(side: int) -> None:
    spec = InputSpec(1, side, side, 5)
    net, plain = network(spec=spec), network(spec=spec)
    add_auxiliary(net)
    x = torch.randn(3, 1, side, side)
    assert torch.equal(net.eval()(x), plain.eval()(x))
    logits, second = net.train().both_logits(x)
    assert logits.shape == second.shape == (3, 5)
    extra = net.state_dict().keys() - plain.state_dict().keys()
    assert extra
    assert all(name.startswith("auxiliary.") for name in extra)
    assert cost(net, spec).macs == cost(plain, spec).macs, "an image never meets it outside of training"


def test_the_auxiliary_head_hangs_on_the_second_reduction() -> None:
    net = network()
    with pytest.raises(ValueError, match="call add_auxiliary"):
        net.both_logits(torch.zeros(2, 3, 16, 16))
    add_auxiliary(net)
    net.both_logits(torch.randn(2, 3, 16, 16))[1].sum().backward()
    reached = [any(p.grad is not None for p in cell.parameters()) for cell in net.cells]
    assert reached == [True] * 5 + [False]
