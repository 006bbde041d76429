"""What sets DARTS, PC-DARTS and GDAS apart: how the operations are mixed, and how many channels pass through them."""

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
    """One of the three."""

    name: Literal["darts", "pc_darts", "gdas"]
    partial: int = 1
    """1 / partial of the channels pass through the operations; above 1 edges have weights of their own."""
    first_temperature: float = 1.0
    last_temperature: float = 1.0
    """Of the Gumbel softmax, falling linearly (gdas)."""

    def mix(self, net: SearchNetwork, progress: float, stream: torch.Generator) -> dict[str, KindMixing]:
        """The mixing at `progress` in [0, 1]; only gdas draws from `stream`."""
        if self.name == "gdas":
            return gumbel_mixing(net, self.temperature(progress), stream)
        return soft_mixing(net)

    def temperature(self, progress: float) -> float:
        """Of the Gumbel softmax."""
        return self.first_temperature + (self.last_temperature - self.first_temperature) * progress

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def soft_mixing(net: SearchNetwork) -> dict[str, KindMixing]:
    """Without a draw: softmax over the operations of an edge, and over the edges of a node if they have weights."""
    return partial_mixing(net) if len(net.betas) else softmax_mixing(net)


def without_some_skips(
    mixing: Mapping[str, KindMixing], ops: tuple[str, ...], probability: float, stream: torch.Generator
) -> Mapping[str, KindMixing]:
    """`mixing` in which each edge loses its skip connection with `probability`; kept ones make up for it."""
    if probability == 0 or SKIP not in ops:
        return mixing
    column, thinned = ops.index(SKIP), {}
    for kind, mixed in mixing.items():
        factors = torch.ones(mixed.op_weights.shape)
        lost = torch.rand(len(factors), generator=stream) < probability
        factors[:, column] = torch.where(lost, 0.0, 1 / (1 - probability))
        thinned[kind] = KindMixing(mixed.op_weights * factors.to(mixed.op_weights), mixed.edge_weights, mixed.chosen)
    return thinned
