"""The variants DARTS, PC-DARTS and GDAS: how operations are mixed, and how many channels pass through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from nas_pipeline.search.differentiable.derivation.integer_program import SKIP
from nas_pipeline.search.differentiable.network.mixing import KindMixing, gumbel_mixing, partial_mixing, softmax_mixing
from nas_pipeline.search.differentiable.network.search_network import SearchNetwork


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the variants.

    Example:
        >>> Variant("gdas", first_temperature=10.0, last_temperature=0.1).temperature(0.5)
        5.05
    """

    name: Literal["darts", "pc_darts", "gdas"]
    partial: int = 1
    """1 / partial of the channels pass through the operations; above 1 edges have weights (betas)."""
    first_temperature: float = 1.0
    last_temperature: float = 1.0
    """Temperature of the Gumbel softmax at the end; it changes linearly (gdas)."""

    def mix(self, net: SearchNetwork, progress: float, stream: torch.Generator) -> dict[str, KindMixing]:
        """Returns the mixing at `progress` in [0, 1]; only gdas draws from `stream`."""
        if self.name == "gdas":
            return gumbel_mixing(net, self.temperature(progress), stream)
        return soft_mixing(net)

    def temperature(self, progress: float) -> float:
        """Returns the temperature of the Gumbel softmax at `progress` in [0, 1]."""
        return self.first_temperature + (self.last_temperature - self.first_temperature) * progress

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, for keys."""
        return asdict(self)


def soft_mixing(net: SearchNetwork) -> dict[str, KindMixing]:
    """Returns the mixing without random draws: softmax over operations, and over the edges of a node with betas."""
    return partial_mixing(net) if len(net.betas) else softmax_mixing(net)


def with_skip_dropout(
    mixing: Mapping[str, KindMixing], ops: tuple[str, ...], probability: float, stream: torch.Generator
) -> Mapping[str, KindMixing]:
    """Returns `mixing` with each edge's skip connection dropped with `probability`; the others are scaled up.

    Args:
        mixing: Of the search network.
        ops: Names of the columns.
        probability: In [0, 1).
        stream: A CPU generator.
    """
    if probability == 0 or SKIP not in ops:
        return mixing
    column, result = ops.index(SKIP), {}
    for kind, mixed in mixing.items():
        factors = torch.ones(mixed.op_weights.shape)
        dropped = torch.rand(len(factors), generator=stream) < probability
        factors[:, column] = torch.where(dropped, 0.0, 1 / (1 - probability))
        result[kind] = KindMixing(mixed.op_weights * factors.to(mixed.op_weights), mixed.edge_weights, mixed.chosen)
    return result
