"""The candidate operations of one edge, from the one catalogue, as a search needs them.

Rule: no state but weights. No batch norm of a search network keeps running statistics, so the network is a function of
its weights, its mixing and the batch, in training and in evaluation alike; nothing has to be undone after a trial step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from nas_pipeline.search.differentiable.network.chains import Chain, chain_of
from nas_pipeline.space.cell_ops import CellPool, CellSkip, FactorizedReduce, Zero
from nas_pipeline.space.ops import OPS


def candidates(names: Sequence[str], channels: int, stride: int) -> list[nn.Module]:
    """The named rows of OPS from `channels` to `channels`, without affine batch norms where the row leaves that open.

    Raises:
        ConfigError: The catalogue has no such row.
    """
    made = [OPS.make(name, channels_in=channels, channels_out=channels, stride=stride, affine=False) for name in names]
    for candidate in made:
        without_running_statistics(candidate)
    return made


@dataclass(frozen=True, slots=True)
class ZeroTerm:
    """Adds nothing, whatever it is given."""


@dataclass(frozen=True, slots=True)
class SharedTerm:
    """Has no weights, so all edges from one state get the same map: it is computed once."""

    key: str
    """Equal for equal operations."""


@dataclass(frozen=True, slots=True)
class HalvingTerm:
    """Looks at every second pixel of the positive part: the same for all edges from one state."""

    layer: FactorizedReduce


TermKind = ZeroTerm | SharedTerm | HalvingTerm | Chain | None
"""How a candidate is computed; None: as the module that it is."""


def term_kind(candidate: nn.Module) -> TermKind:
    """The cheapest exact way to compute `candidate`."""
    if isinstance(candidate, Zero):
        return ZeroTerm()
    if isinstance(candidate, CellPool | CellSkip) and not list(candidate.parameters()):
        return SharedTerm(repr(candidate))  # which states every setting of the layers
    if isinstance(candidate, CellSkip) and len(candidate) == 1 and isinstance(candidate[0], FactorizedReduce):
        return HalvingTerm(candidate[0])
    return chain_of(candidate)


def without_running_statistics(net: nn.Module) -> None:
    """Make every batch norm in `net` use the statistics of its batch, always, and keep none."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
