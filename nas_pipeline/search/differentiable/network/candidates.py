"""The candidate operations of one edge, and the kinds of terms that they contribute to a node.

The only state of a search network is its weights: no batch norm has running statistics. So its output is a function of
the weights, the mixing and the batch, in training and in evaluation, and a virtual step leaves no trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from nas_pipeline.search.differentiable.network.chains import Chain, chain_of
from nas_pipeline.space.cell_ops import CellPool, CellSkip, FactorizedReduce, Zero
from nas_pipeline.space.ops import OPS


def candidates(names: Sequence[str], channels: int, stride: int) -> list[nn.Module]:
    """Returns the named operations of OPS from `channels` to `channels`, with batch norms that are not affine.

    Raises:
        ConfigError: OPS has no operation of that name.
    """
    operations = [OPS.make(name, channels_in=channels, channels_out=channels, stride=stride, affine=False)
                  for name in names]
    for candidate in operations:
        without_running_statistics(candidate)
    return operations


@dataclass(frozen=True, slots=True)
class ZeroTerm:
    """The operation `none`: it adds nothing to the node."""


@dataclass(frozen=True, slots=True)
class SharedTerm:
    """An operation without weights: its map is computed once for all edges from one state."""

    key: str
    """Equal for equal operations."""


@dataclass(frozen=True, slots=True)
class HalvingTerm:
    """A `FactorizedReduce`: its rectified input at every second pixel is shared by all edges from one state."""

    layer: FactorizedReduce


TermKind = ZeroTerm | SharedTerm | HalvingTerm | Chain | None
"""How the term of a candidate is computed; None: by calling the module."""


def term_kind(candidate: nn.Module) -> TermKind:
    """Returns the cheapest exact way to compute `candidate`."""
    if isinstance(candidate, Zero):
        return ZeroTerm()
    if isinstance(candidate, CellPool | CellSkip) and not list(candidate.parameters()):
        return SharedTerm(repr(candidate))  # repr contains every setting of the layers
    if isinstance(candidate, CellSkip) and len(candidate) == 1 and isinstance(candidate[0], FactorizedReduce):
        return HalvingTerm(candidate[0])
    return chain_of(candidate)


def without_running_statistics(net: nn.Module) -> None:
    """Makes every batch norm in `net` use the statistics of the batch, in training and in evaluation."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
