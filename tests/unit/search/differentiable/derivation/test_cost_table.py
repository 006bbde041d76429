"""Cost tables and the expected cost."""

from __future__ import annotations

import pytest
import torch

from nas_pipeline.core.records import InputSpec
from nas_pipeline.search.differentiable.derivation.cost_table import (
    CellShape,
    cell_shapes,
    cost_table,
    count_params,
    even_shares,
    expected_cost,
)
from nas_pipeline.search.differentiable.network.mixing import KindMixing

SPEC = InputSpec(channels=1, height=7, width=9, classes=3)
OPS = ("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3")


def test_shapes_of_the_cells() -> None:
    assert list(cell_shapes(4, 3, SPEC)) == [
        CellShape("normal", 4, 7, 9), CellShape("reduce", 8, 7, 9), CellShape("reduce", 16, 4, 5),
    ]


def test_parameters_are_counted_exactly_and_summed_over_the_cells_of_a_kind() -> None:
    table = cost_table(OPS, 2, 4, 3, SPEC, count_params)
    sep = {c: 2 * (9 * c + c * c + 2 * c) for c in (4, 8, 16)}
    halving_skip = {c: c * c + 2 * c for c in (8, 16)}
    assert table["normal"].tolist() == [[0, 0, sep[4], 0]] * 5
    assert table["reduce"][:4].tolist() == [[0, halving_skip[8] + halving_skip[16], sep[8] + sep[16], 0]] * 4
    assert table["reduce"][4].tolist() == [0, 0, sep[8] + sep[16], 0]


def test_an_operation_is_measured_once_per_shape_with_its_input() -> None:
    measured: list[tuple[str, tuple[int, int, int]]] = []

    def operation_cost(op: torch.nn.Module, shape: tuple[int, int, int]) -> float:
        measured.append((type(op).__name__, shape))
        op(torch.zeros(1, *shape))
        return 1.0

    before = torch.get_rng_state()
    table = cost_table(OPS, 2, 4, 6, SPEC, operation_cost)
    assert torch.equal(before, torch.get_rng_state())
    assert table["normal"][:, 1:].tolist() == [[4.0] * 3] * 5
    assert table["reduce"][:, 1:].tolist() == [[2.0] * 3] * 5
    assert measured.count(("SepConv", (4, 7, 9))) == 1
    assert ("SepConv", (8, 7, 9)) in measured  # an edge that halves the map
    assert ("SepConv", (8, 4, 5)) in measured


def test_the_expected_cost_is_the_mean_over_drawn_networks() -> None:
    table = torch.tensor([[9.0, 1.0, 2.0], [9.0, 3.0, 4.0], [9.0, 5.0, 6.0], [9.0, 7.0, 8.0], [9.0, 9.0, 10.0]])
    mixing = {"normal": KindMixing(torch.tensor([[0.5, 0.25, 0.25]] * 5))}
    # Operations: the mean of the last two columns. Node 0 has both edges, node 1 two of three.
    assert float(expected_cost(mixing, {"normal": table}, ("none", "a", "b"))) == pytest.approx(
        1.5 + 3.5 + 2 / 3 * (5.5 + 7.5 + 9.5)
    )
    weighted = {"normal": KindMixing(torch.tensor([[0.5, 0.25, 0.25]] * 5), torch.tensor([0.5, 0.5, 0.0, 0.5, 0.5]))}
    assert float(expected_cost(weighted, {"normal": table}, ("none", "a", "b"))) == pytest.approx(1.5 + 3.5 + 7.5 + 9.5)


def test_the_gradient_of_the_expected_cost_favours_cheaper_operations() -> None:
    alphas = torch.zeros(5, 3, requires_grad=True)
    table = {"normal": torch.tensor([[0.0, 1.0, 2.0]] * 5)}
    (slope,) = torch.autograd.grad(
        expected_cost({"normal": KindMixing(alphas.softmax(1))}, table, ("none", "a", "b")), alphas
    )
    assert (slope[:, 1] < 0).all()
    assert (slope[:, 2] > 0).all()


def test_even_shares_sum_to_one_a_node() -> None:
    assert even_shares(5).tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
