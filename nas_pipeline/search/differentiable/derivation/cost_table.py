"""What the derived network will cost: a table for each kind of cost, and what comes on top of it. Measured once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nas_pipeline.core.files import read_json, write_json
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.derivation.cost_model import (
    OperationCost,
    cost_table,
    count_params,
    expected_cost,
)
from nas_pipeline.search.differentiable.derivation.discrete import plan_of
from nas_pipeline.search.differentiable.derivation.integer_program import NONE, CostBound, EdgeTable, Picks, strongest
from nas_pipeline.search.differentiable.network.mixing import KINDS, KindMixing, edges
from nas_pipeline.search.differentiable.settings import Settings
from nas_pipeline.space.cell import CellSpace

DeploymentCosts = Callable[[nn.Module, InputSpec], Mapping[str, float]]
"""As evaluators get it: what shipping a network would mean, latency_ms among it."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """A kind of cost of the derived network: base + the sum over its operations."""

    name: str
    table: EdgeTable
    base: float

    def of(self, picks: Picks, settings: Settings) -> float:
        """What a network of these cells costs."""
        return CostBound(self.name, self.table, self.base, 0.0).of(picks, settings.ops)

    def expected(self, mixing: Mapping[str, KindMixing], settings: Settings) -> Tensor:
        """Expected cost as a share of its bound; without one, of an undecided network's cost."""
        tables = {kind: torch.from_numpy(table) for kind, table in self.table.items()}
        even = {k: KindMixing(torch.ones(len(t), len(settings.ops), dtype=t.dtype)) for k, t in tables.items()}
        scale = (settings.bounds or {}).get(self.name) or self.base + float(expected_cost(even, tables, settings.ops))
        return (self.base + expected_cost(mixing, tables, settings.ops)) / max(scale, 1e-12)


def cost_models(settings: Settings, spec: InputSpec, deploy: DeploymentCosts | None, cache: Path) -> tuple[CostModel, ...]:
    """One for each of `settings.costs`; read from `cache` where they have been measured before.

    What comes on top is what a network costs whose cells are all alike, less what its operations cost.

    Raises:
        ConfigError: A latency is asked for where nothing can measure one.
    """
    if cache.exists():
        known = read_json(cache)
    else:
        known = {name: _priced(name, settings, spec, deploy) for name in settings.costs}
        write_json(cache, known)
    return tuple(
        CostModel(name, {kind: np.array(table) for kind, table in known[name]["table"].items()}, known[name]["base"])
        for name in settings.costs
    )


def bounds_of(models: tuple[CostModel, ...], settings: Settings) -> tuple[CostBound, ...]:
    """The hard ones."""
    hard = settings.bounds or {}
    return tuple(CostBound(m.name, m.table, m.base, hard[m.name]) for m in models if m.name in hard)


def _priced(name: str, settings: Settings, spec: InputSpec, deploy: DeploymentCosts | None) -> dict[str, object]:
    price: OperationCost = count_params
    if name != "params":
        if deploy is None:
            raise ConfigError("a bound or penalty on latency_ms needs a way to measure it; "
                              "hand in `deploy`, or bound params instead")
        price = operation_latency_ms(deploy)
    table = cost_table(settings.ops, settings.nodes, settings.eval_width, settings.eval_cells, spec, price)
    picks = _all_alike(settings)
    with torch.random.fork_rng(devices=[]):
        net = CellSpace().build(plan_of(picks, settings), spec).eval()
    whole = float(deploy(net, spec)[name]) if deploy and name != "params" else count_params(net, (0, 0, 0))
    operations = CostBound(name, table, 0.0, 0.0).of(picks, settings.ops)
    return {"table": {kind: rows.tolist() for kind, rows in table.items()},
            "base": max(0.0, whole - operations)}


def operation_latency_ms(deploy: DeploymentCosts) -> OperationCost:
    """Milliseconds of an operation on this host, less those of a ReLU of the same shape: what any run costs."""
    nothing: dict[tuple[int, int, int], float] = {}

    def price(operation: nn.Module, shape: tuple[int, int, int]) -> float:
        if not list(operation.modules())[1:]:  # the identity: there is nothing to export
            return 0.0
        spec = InputSpec(*shape, classes=shape[0])
        if shape not in nothing:
            nothing[shape] = float(deploy(nn.ReLU(), spec)["latency_ms"])
        return max(0.0, float(deploy(operation, spec)["latency_ms"]) - nothing[shape])

    return price


def _all_alike(settings: Settings) -> Picks:
    """Cells of the first operation that is one, without a skip where another is offered: a skip tells nothing."""
    even = np.full((len(edges(settings.nodes)), len(settings.ops)), 1.0)
    even[:, [op == NONE for op in settings.ops]] = 0.0
    return strongest(dict.fromkeys(KINDS, even), settings.ops, settings.nodes)
