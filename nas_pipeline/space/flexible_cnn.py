"""Plain convolutional networks of 2 to 5 blocks, every block followed by 2x2 pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_pipeline.core.protocols import Chooser
from nas_pipeline.core.records import InputSpec
from nas_pipeline.space.domains import KERNEL, UNIT_INTERVAL, WIDTH
from nas_pipeline.space.options import at_most, choices, counts, opened

if TYPE_CHECKING:
    from torch import nn  # decisions need no torch


@dataclass(frozen=True, slots=True)
class ConvBlock:
    """Convolution, batch norm or bias, ReLU, 2x2 pooling ("max" or "avg")."""

    channels: int
    kernel: int
    batch_norm: bool
    pool: str


@dataclass(frozen=True, slots=True)
class FlexibleCnnPlan:
    """A decoded plain network."""

    blocks: tuple[ConvBlock, ...]
    dropout: float


class FlexibleCnnSpace:
    """Blocks of convolution and pooling, global average pooling, dropout, linear."""

    name = "flexible_cnn"
    version = 1

    def __init__(
        self,
        max_width: int = 96,
        blocks: Sequence[int] = (2, 3, 4, 5),
        channels: Sequence[int] = (16, 24, 32, 48, 64, 96),
        kernels: Sequence[int] = (3, 5),
        batch_norm: Sequence[bool] = (True, False),
        pools: Sequence[str] = ("max", "avg"),
        dropouts: Sequence[float] = (0.0, 0.1, 0.2, 0.3),
    ) -> None:
        """Options list the values of the decisions of these names; channels above `max_width` are dropped.

        Batch norm and pools can only be narrowed.
        """
        self._blocks = counts("blocks", blocks, 8)
        self._channels = at_most("max_width", opened("channels", channels, WIDTH), max_width)
        self._kernels = opened("kernels", kernels, KERNEL)
        self._batch_norm = choices("batch_norm", batch_norm, (True, False))
        self._pools = choices("pools", pools, ("max", "avg"))
        self._dropouts = opened("dropouts", [float(dropout) for dropout in dropouts], UNIT_INTERVAL)  # YAML may say 0

    def key(self) -> dict[str, object]:
        """Name, version and options, with the channels that `max_width` leaves."""
        return {"name": self.name, "version": self.version, "options": {
            "blocks": self._blocks,
            "channels": self._channels,
            "kernels": self._kernels,
            "batch_norm": self._batch_norm,
            "pools": self._pools,
            "dropouts": self._dropouts,
        }}

    def decide(self, choose: Chooser) -> FlexibleCnnPlan:
        """Decide the number of blocks, each block, and the dropout before the last layer."""
        count = choose.one_of("blocks", self._blocks)
        blocks = tuple(self._decide_block(choose, f"block{number}") for number in range(1, count + 1))
        return FlexibleCnnPlan(blocks, choose.one_of("dropout", self._dropouts))

    def build(self, plan: FlexibleCnnPlan, spec: InputSpec) -> nn.Module:
        """Build the network of `plan`. Pooling stops when the feature map is one pixel."""
        from torch import nn

        from nas_pipeline.space.network import MapSize, Network
        from nas_pipeline.space.ops import ConvBnAct

        size = MapSize(spec.height, spec.width, smallest=1)
        width = spec.channels
        layers: list[nn.Module] = []
        for block in plan.blocks:
            layers.append(ConvBnAct(width, block.channels, kernel=block.kernel, batch_norm=block.batch_norm))
            width = block.channels
            if size.shrink(2) > 1:
                pool = nn.MaxPool2d if block.pool == "max" else nn.AvgPool2d
                layers.append(pool(2, ceil_mode=True))
        return Network(nn.Sequential(*layers), width, spec.classes, dropout=plan.dropout)

    def _decide_block(self, choose: Chooser, name: str) -> ConvBlock:
        return ConvBlock(
            channels=choose.one_of(f"{name}.channels", self._channels),
            kernel=choose.one_of(f"{name}.kernel", self._kernels),
            batch_norm=choose.one_of(f"{name}.batch_norm", self._batch_norm),
            pool=choose.one_of(f"{name}.pool", self._pools),
        )
