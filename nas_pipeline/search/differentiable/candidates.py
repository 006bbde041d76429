"""The candidate operations of one edge, from the one catalogue, as a search needs them.

Rule: no state but weights. No batch norm of a search network keeps running statistics, so the network is a function of
its weights, its mixing and the batch, in training and in evaluation alike; nothing has to be undone after a trial step.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from nas_pipeline.space.cell_ops import Zero
from nas_pipeline.space.ops import OPS


def candidates(names: Sequence[str], channels: int, stride: int) -> list[nn.Module]:
    """The named rows of OPS from `channels` to `channels`, without affine batch norms where the row leaves that open.

    Raises:
        ConfigError: The catalogue has no such row.
    """
    return [
        OPS.make(name, channels_in=channels, channels_out=channels, stride=stride, affine=False) for name in names
    ]


def is_nothing(candidate: nn.Module) -> bool:
    """Whether the candidate adds nothing, whatever it is given."""
    return isinstance(candidate, Zero)


def without_running_statistics(net: nn.Module) -> None:
    """Make every batch norm in `net` use the statistics of its batch, always, and keep none."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
