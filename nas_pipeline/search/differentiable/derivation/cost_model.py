"""Cost models of the derived network: a table of the operations' costs and a constant, measured once per search."""

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
from nas_pipeline.search.differentiable.derivation.cost_table import (
    OperationCost,
    cost_table,
    count_params,
    expected_cost,
)
from nas_pipeline.search.differentiable.derivation.discretisation import plan_of
from nas_pipeline.search.differentiable.derivation.integer_program import NONE, CostBound, EdgeTable, Picks, strongest
from nas_pipeline.search.differentiable.network.mixing import KINDS, KindMixing, edges
from nas_pipeline.search.differentiable.settings import Settings
from nas_pipeline.space.cell import CellSpace

DeploymentCosts = Callable[[nn.Module, InputSpec], Mapping[str, float]]
"""(network, shape of its input) -> measures of the deployed network, `latency_ms` among them."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """One kind of cost of the derived network: `base` plus the sum over its operations."""

    name: str
    table: EdgeTable
    base: float

    def cost(self, picks: Picks, settings: Settings) -> float:
        """Returns the cost of the network with these cells."""
        return CostBound(self.name, self.table, self.base, 0.0).cost(picks, settings.ops)

    def expected(self, mixing: Mapping[str, KindMixing], settings: Settings) -> Tensor:
        """Returns the expected cost as a share of its bound; without a bound, of the cost under an even mixing."""
        tables = {kind: torch.from_numpy(table) for kind, table in self.table.items()}
        even = {k: KindMixing(torch.ones(len(t), len(settings.ops), dtype=t.dtype)) for k, t in tables.items()}
        scale = (settings.bounds or {}).get(self.name) or self.base + float(expected_cost(even, tables, settings.ops))
        return (self.base + expected_cost(mixing, tables, settings.ops)) / max(scale, 1e-12)


def cost_models(
    settings: Settings, spec: InputSpec, deploy: DeploymentCosts | None, cache: Path
) -> tuple[CostModel, ...]:
    """Returns a model for each of `settings.costs`; read from `cache` if they were measured before.

    The constant is the cost of a network whose cells all use the same operation, less the cost of its operations.

    Args:
        settings: Of the search.
        spec: Shape of the images.
        deploy: Measures `latency_ms`; not needed for `params`.
        cache: JSON file of the measured tables.

    Raises:
        ConfigError: `latency_ms` is bounded or penalised, and `deploy` is None.
    """
    if cache.exists():
        known = read_json(cache)
    else:
        known = {name: _measure(name, settings, spec, deploy) for name in settings.costs}
        write_json(cache, known)
    return tuple(
        CostModel(name, {kind: np.array(table) for kind, table in known[name]["table"].items()}, known[name]["base"])
        for name in settings.costs
    )


def hard_bounds(models: tuple[CostModel, ...], settings: Settings) -> tuple[CostBound, ...]:
    """Returns the bounds of `settings.bounds`, each with its cost table."""
    limits = settings.bounds or {}
    return tuple(CostBound(m.name, m.table, m.base, limits[m.name]) for m in models if m.name in limits)


def _measure(name: str, settings: Settings, spec: InputSpec, deploy: DeploymentCosts | None) -> dict[str, object]:
    operation_cost: OperationCost = count_params
    if name != "params":
        if deploy is None:
            raise ConfigError("a bound or penalty on latency_ms needs a way to measure it; "
                              "pass `deploy`, or bound params instead")
        operation_cost = operation_latency_ms(deploy)
    table = cost_table(settings.ops, settings.nodes, settings.eval_width, settings.eval_cells, spec, operation_cost)
    picks = _uniform_picks(settings)
    with torch.random.fork_rng(devices=[]):
        net = CellSpace().build(plan_of(picks, settings), spec).eval()
    whole = float(deploy(net, spec)[name]) if deploy and name != "params" else count_params(net, (0, 0, 0))
    operations = CostBound(name, table, 0.0, 0.0).cost(picks, settings.ops)
    return {"table": {kind: rows.tolist() for kind, rows in table.items()},
            "base": max(0.0, whole - operations)}


def operation_latency_ms(deploy: DeploymentCosts) -> OperationCost:
    """Returns a function that measures the latency of an operation on this host, in milliseconds.

    The latency of a ReLU of the same shape, the overhead of any run, is subtracted.
    """
    overhead_ms: dict[tuple[int, int, int], float] = {}

    def latency_ms(operation: nn.Module, shape: tuple[int, int, int]) -> float:
        if not list(operation.modules())[1:]:  # the identity cannot be exported alone
            return 0.0
        spec = InputSpec(*shape, classes=shape[0])
        if shape not in overhead_ms:
            overhead_ms[shape] = float(deploy(nn.ReLU(), spec)["latency_ms"])
        return max(0.0, float(deploy(operation, spec)["latency_ms"]) - overhead_ms[shape])

    return latency_ms


def _uniform_picks(settings: Settings) -> Picks:
    """Returns cells in which every edge has the first operation that is not `none`."""
    even = np.full((len(edges(settings.nodes)), len(settings.ops)), 1.0)
    even[:, [op == NONE for op in settings.ops]] = 0.0
    return strongest(dict.fromkeys(KINDS, even), settings.ops, settings.nodes)
