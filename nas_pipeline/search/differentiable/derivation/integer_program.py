"""Discretisation: the strongest cell with two edges per node and one operation per edge, under hard bounds.

Without bounds this is the rule of DARTS. With bounds it is an integer program, which is solved exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack, vstack

from nas_pipeline.errors import SearchError, SearchRefusal
from nas_pipeline.search.differentiable.network.mixing import edges

EdgeTable = Mapping[str, NDArray[np.float64]]
"""Kind of cell -> [E, O], a number for each operation on each edge."""

INPUTS_PER_NODE = 2
NONE, SKIP = "none", "skip_connect"

_WEAKEST = 1e-12
_MAX_CUTS = 1000


@dataclass(frozen=True, slots=True)
class CostBound:
    """A hard bound on a cost of the derived network: `base` plus the sum over its operations."""

    name: str
    """The cost, with its unit: `params`, `latency_ms`."""
    table: EdgeTable
    base: float
    """Cost of the network without its chosen operations."""
    at_most: float

    def cost(self, picks: Picks, ops: Sequence[str]) -> float:
        """Returns the cost of a network with these cells, summed in a fixed order."""
        return self.base + sum(
            float(self.table[kind][edge, ops.index(op)]) for kind in sorted(picks) for edge, op in picks[kind]
        )


Picks = Mapping[str, Sequence[tuple[int, str]]]
"""Kind -> the (edge, operation) pairs of the derived cell, by ascending edge: two per node."""


def strongest(
    strengths: EdgeTable,
    ops: Sequence[str],
    nodes: int,
    *,
    bounds: Sequence[CostBound] = (),
    skip_cap: int | None = None,
) -> dict[str, tuple[tuple[int, str], ...]]:
    """Returns the strongest picks that satisfy the limits.

    Without limits this is the rule of the paper: an edge is as strong as its strongest operation other than `none`,
    and a node has its two strongest edges. That maximises the sum of the logarithms of the picked strengths; under
    limits the same sum is maximised over all cells that satisfy them.

    Args:
        strengths: Shares after the softmax over all operations, `none` included, times the share of the edge where
            edges have weights.
        ops: Names of the columns.
        nodes: Inner nodes of a cell.
        bounds: Hard limits on the cost of the whole network.
        skip_cap: Largest number of skip connections in the normal cell.

    Raises:
        SearchRefusal: No cell satisfies the limits; the message states the excess of the nearest one.
        SearchError: A strength is not a number, or the solver failed.

    Source: Liu et al., arXiv:1806.09055, section 2.4; the cap: Chen et al., arXiv:1904.12760, section 3.3.
    """
    if not all(np.isfinite(table).all() for table in strengths.values()):
        raise SearchError("an alpha is not a finite number, so no cell can be derived; lower alpha_learning_rate")
    usable = [index for index, op in enumerate(ops) if op != NONE]
    picks = {kind: _two_strongest(table, ops, usable, nodes) for kind, table in strengths.items()}
    within = skip_cap is None or skips(picks) <= skip_cap
    if within and not _exceeded(picks, ops, bounds):
        return picks
    return _Program(strengths, ops, usable, nodes, bounds, skip_cap).solve()


def skips(picks: Picks, kind: str = "normal") -> int:
    """Returns the number of skip connections in the cell of that kind."""
    return sum(op == SKIP for _, op in picks[kind])


def _two_strongest(
    table: NDArray[np.float64], ops: Sequence[str], usable: list[int], nodes: int
) -> tuple[tuple[int, str], ...]:
    pairs: list[tuple[int, str]] = []
    best = [usable[int(index)] for index in table[:, usable].argmax(axis=1)]
    for node in range(nodes):
        rows = [row for row, (_, target) in enumerate(edges(nodes)) if target == node]
        two = sorted(rows, key=lambda row: -table[row, best[row]])[:INPUTS_PER_NODE]
        pairs += [(row, ops[best[row]]) for row in sorted(two)]
    return tuple(pairs)


def _exceeded(picks: Picks, ops: Sequence[str], bounds: Sequence[CostBound]) -> bool:
    return any(bound.cost(picks, ops) > bound.at_most for bound in bounds)


class _Program:
    """The integer program: one binary variable per usable operation, edge and kind of cell."""

    def __init__(
        self, strengths: EdgeTable, ops: Sequence[str], usable: list[int], nodes: int, bounds: Sequence[CostBound],
        skip_cap: int | None,
    ) -> None:
        self.ops, self.bounds, self.skip_cap = ops, bounds, skip_cap
        rows = edges(nodes)
        self.variables = [(kind, edge, op) for kind in strengths for edge in range(len(rows)) for op in usable]
        self.value = np.array([np.log(max(strengths[k][e, o], _WEAKEST)) for k, e, o in self.variables])
        groups: list[tuple[object, int]] = []
        for kind in strengths:
            groups += [((kind, "edge", edge), 1) for edge in range(len(rows))]
            groups += [((kind, "node", node), INPUTS_PER_NODE) for node in range(nodes)]
        row_of = {key: index for index, (key, _) in enumerate(groups)}
        belongs = [
            (row_of[key], column)
            for column, (kind, edge, _) in enumerate(self.variables)
            for key in ((kind, "edge", edge), (kind, "node", rows[edge][1]))
        ]
        structure = csr_array(
            (np.ones(len(belongs)), tuple(zip(*belongs, strict=True))), shape=(len(groups), len(self.variables))
        )
        upper = np.array([count for _, count in groups], dtype=float)
        lower = np.array([count if count == INPUTS_PER_NODE else 0 for _, count in groups], dtype=float)
        self.rules = [LinearConstraint(self._wide(structure), lower, upper)]
        if skip_cap is not None:
            skip = [float(kind == "normal" and ops[op] == SKIP) for kind, _, op in self.variables]
            self.rules.append(LinearConstraint(self._wide(skip), -np.inf, skip_cap))

    def solve(self) -> dict[str, tuple[tuple[int, str], ...]]:
        """Returns the strongest picks that satisfy every limit exactly, not only to the solver's tolerance."""
        cuts: list[LinearConstraint] = []
        while len(cuts) < _MAX_CUTS:
            solution = self._run(-self.value, [*self.rules, *self._limits(0.0), *cuts], slack=0.0)
            if solution is None:
                raise self._refusal()
            picks = self._picks(solution)
            if not _exceeded(picks, self.ops, self.bounds):
                return picks
            # Over the limit by the solver's rounding: exclude exactly this solution and solve again.
            cuts.append(LinearConstraint(self._wide(solution), -np.inf, solution.sum() - 1))
        raise SearchError(f"{_MAX_CUTS} cells are on the bound to within rounding; change the bound slightly")

    def _limits(self, slack: float) -> list[LinearConstraint]:
        """Returns cost / at_most <= 1; when `slack` is 1, cost / at_most <= 1 + the last variable."""
        limits = []
        for bound in self.bounds:
            scale = max(abs(bound.at_most), 1e-12)
            costs = [bound.table[kind][edge, op] / scale for kind, edge, op in self.variables]
            limits.append(LinearConstraint(
                self._wide(costs, -slack), -np.inf, (bound.at_most - bound.base) / scale + 1e-9
            ))
        return limits

    def _refusal(self) -> SearchRefusal:
        """Returns the error, which describes the cell whose largest relative excess is smallest."""
        solution = self._run(np.zeros(len(self.variables)), [*self.rules, *self._limits(1.0)], slack=1.0)
        if solution is None:
            return SearchRefusal(f"no normal cell has at most {self.skip_cap} skip connections of these operations; "
                                 "raise skip_cap or offer more operations")
        picks = self._picks(solution)
        excesses = [
            f"{bound.name} {cost:.6g} where {bound.at_most:.6g} is allowed "
            f"({cost - bound.at_most:.6g} or {100 * (cost / bound.at_most - 1):.1f} % too much)"
            if bound.at_most > 0 else f"{bound.name} {cost:.6g} where {bound.at_most:.6g} is allowed"
            for bound in self.bounds if (cost := bound.cost(picks, self.ops)) > bound.at_most
        ]
        return SearchRefusal("no cell of this space satisfies the bounds: the nearest one has " + " and ".join(excesses)
                             + "; raise the bound, or lower eval_width or eval_cells")

    def _run(
        self, costs: NDArray[np.float64], rules: list[LinearConstraint], slack: float
    ) -> NDArray[np.float64] | None:
        size = len(self.variables)
        result = milp(
            np.append(costs, slack), constraints=rules, integrality=np.append(np.ones(size), 0.0),
            bounds=Bounds(0.0, np.append(np.ones(size), np.inf if slack else 0.0)), options={"mip_rel_gap": 0.0},
        )
        if result.status == 2:  # infeasible
            return None
        if result.x is None:
            raise SearchError(f"the integer program of the derivation was not solved: {result.message}")
        return np.asarray(np.round(result.x[:size]), dtype=np.float64)

    def _picks(self, solution: NDArray[np.float64]) -> dict[str, tuple[tuple[int, str], ...]]:
        chosen = [variable for variable, value in zip(self.variables, solution, strict=True) if value]
        kinds = dict.fromkeys(kind for kind, _, _ in self.variables)
        return {
            kind: tuple(sorted((edge, self.ops[op]) for k, edge, op in chosen if k == kind)) for kind in kinds
        }

    def _wide(self, rows: object, last: float = 0.0) -> csr_array:
        """Returns rows over the binary variables, with a column for the slack."""
        matrix = rows if isinstance(rows, csr_array) else csr_array(np.atleast_2d(np.asarray(rows, dtype=float)))
        column = csr_array(np.full((matrix.shape[0], 1), last))
        return csr_array(hstack([vstack([matrix]), column]))
