"""Derivation: the rule of the paper, and under bounds the optimum that a search through all cells finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from nas_pipeline.errors import SearchError, SearchRefusal
from nas_pipeline.search.differentiable.derivation.integer_program import CostBound, skips, strongest
from nas_pipeline.search.differentiable.network.mixing import edges

OPS = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
FULL = ("none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5", "avg_pool_3x3",
        "max_pool_3x3")


def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(values)
    return np.asarray(shares / shares.sum(1, keepdims=True))


def tables(seed: int, nodes: int, ops: int, kinds: tuple[str, ...] = ("normal", "reduce")) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {kind: softmax(rng.normal(size=(len(edges(nodes)), ops))) for kind in kinds}


def every_cell(nodes: int, ops: tuple[str, ...]) -> list[tuple[tuple[int, str], ...]]:
    per_node = []
    for node in range(nodes):
        rows = [row for row, (_, target) in enumerate(edges(nodes)) if target == node]
        usable = [op for op in ops if op != "none"]
        per_node.append([
            ((a, x), (b, y)) for a, b in itertools.combinations(rows, 2) for x in usable for y in usable
        ])
    return [tuple(itertools.chain(*cell)) for cell in itertools.product(*per_node)]


def value(cell: tuple[tuple[int, str], ...], table: np.ndarray, ops: tuple[str, ...]) -> float:
    return float(sum(np.log(table[edge, ops.index(op)]) for edge, op in cell))


def test_edges_are_in_the_order_of_the_alphas() -> None:
    assert len(edges(4)) == 14
    assert edges(2) == ((0, 0), (1, 0), (0, 1), (1, 1), (2, 1))


def test_none_never_wins_and_two_edges_stay() -> None:
    table = np.full((5, 4), 0.01)
    table[:, 0] = 0.9  # `none` is the strongest everywhere
    table[2, 3], table[4, 2], table[3, 1] = 0.08, 0.07, 0.02
    table[0, 1] = table[1, 2] = 0.05
    picks = strongest({"normal": table}, OPS, 2)["normal"]
    assert picks == ((0, "skip_connect"), (1, "sep_conv_3x3"), (2, "max_pool_3x3"), (4, "sep_conv_3x3"))


@pytest.mark.parametrize("seed", range(3))
def test_without_limits_it_is_the_largest_sum_of_logarithms(seed: int) -> None:
    table = tables(seed, 2, 4)["normal"]
    picks = strongest({"normal": table}, OPS, 2)["normal"]
    assert picks == max(every_cell(2, OPS), key=lambda cell: value(cell, table, OPS))


@pytest.mark.parametrize("seed", range(6))
def test_under_a_bound_and_a_cap_it_is_the_best_of_all_cells(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    strengths, kinds = tables(seed, 2, 4), ("normal", "reduce")
    costs = {kind: rng.integers(0, 50, size=(5, 4)).astype(float) for kind in kinds}
    cells = {kind: every_cell(2, OPS) for kind in kinds}
    priced = {
        kind: [(sum(costs[kind][e, OPS.index(o)] for e, o in cell), value(cell, strengths[kind], OPS),
                sum(o == "skip_connect" for _, o in cell)) for cell in cells[kind]] for kind in kinds
    }
    cap, free = seed % 3, strongest(strengths, OPS, 2)
    bound = CostBound("params", costs, 10.0, 0.7 * CostBound("params", costs, 10.0, 0.0).cost(free, OPS))
    best = max(
        v + w for (c, v, s), (d, w, _) in itertools.product(priced["normal"], priced["reduce"])
        if 10 + c + d <= bound.at_most and s <= cap
    )
    picks = strongest(strengths, OPS, 2, bounds=[bound], skip_cap=cap)
    assert bound.cost(picks, OPS) <= bound.at_most
    assert skips(picks) <= cap
    assert sum(value(picks[kind], strengths[kind], OPS) for kind in kinds) == pytest.approx(best, abs=1e-6)


def test_the_full_space_under_two_bounds() -> None:
    strengths = tables(3, 4, 8)
    rng = np.random.default_rng(4)
    params, latency = ({k: rng.random((14, 8)) for k in strengths} for _ in range(2))
    bounds = [CostBound("params", params, 0.0, 5.0), CostBound("latency_ms", latency, 1.0, 6.0)]
    picks = strongest(strengths, FULL, 4, bounds=bounds, skip_cap=2)
    assert all(bound.cost(picks, FULL) <= bound.at_most for bound in bounds)
    assert [edges(4)[edge][1] for edge, _ in picks["normal"]] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_bound_that_is_just_met_is_met() -> None:
    strengths = tables(0, 2, 4)
    costs = {kind: np.arange(20.0).reshape(5, 4) * 0.1 for kind in strengths}
    free = strongest(strengths, OPS, 2)
    exact = CostBound("latency_ms", costs, 0.3, 0.0).cost(free, OPS)
    assert strongest(strengths, OPS, 2, bounds=[CostBound("latency_ms", costs, 0.3, exact)]) == free
    below = CostBound("latency_ms", costs, 0.3, float(np.nextafter(exact, 0)))
    assert below.cost(strongest(strengths, OPS, 2, bounds=[below]), OPS) < exact


def test_an_impossible_bound_is_refused_with_the_excess() -> None:
    strengths = tables(0, 2, 4)
    costs = {kind: np.full((5, 4), 10.0) for kind in strengths}
    with pytest.raises(SearchRefusal, match=r"params 100 where 80 is allowed \(20 or 25.0 % too much\)"):
        strongest(strengths, OPS, 2, bounds=[CostBound("params", costs, 20.0, 80.0)])


def test_a_cap_that_only_skips_could_keep_is_refused() -> None:
    strengths = {kind: table[:, :2] for kind, table in tables(0, 2, 4).items()}
    with pytest.raises(SearchRefusal, match="raise skip_cap"):
        strongest(strengths, OPS[:2], 2, skip_cap=1)


def test_alphas_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(SearchError, match="not a finite number"):
        strongest({"normal": np.full((5, 4), np.nan)}, OPS, 2)
