"""The space of residual networks of dense 3x3 convolutions.

Dense convolutions train fastest on a CPU and gain most from INT8 runtimes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_pipeline.core.protocols import Chooser
from nas_pipeline.core.records import InputSpec
from nas_pipeline.space.domains import WIDTH, Whole
from nas_pipeline.space.options import at_most, choices, counts, opened

if TYPE_CHECKING:
    from torch import nn  # decisions need no torch

_STAGE_WIDTHS = ((16, 24, 32, 48, 64), (24, 32, 48, 64, 96), (32, 48, 64, 96, 128))
"""Of stages 1, 2 and 3."""


@dataclass(frozen=True, slots=True)
class ResidualStage:
    """A transition to a smaller map, then residual blocks."""

    width: int
    transition: str
    """"stride": 3x3 convolution of stride 2. "pool": 3x3 convolution, then 2x2 max-pooling."""
    blocks: int
    squeeze_excitation: bool


@dataclass(frozen=True, slots=True)
class ResidualPlan:
    """A decoded residual network."""

    stem_width: int
    stem_stride: int
    stages: tuple[ResidualStage, ...]
    pooling: str


class ResidualSpace:
    """Stem, 2 or 3 stages, global pooling, linear.

    Source: He et al., arXiv:1512.03385.
    """

    name = "residual"
    version = 1

    def __init__(
        self,
        max_width: int = 128,
        stem_widths: Sequence[int] = (16, 24, 32, 48),
        stem_strides: Sequence[int] = (1, 2),
        stages: Sequence[int] = (2, 3),
        transitions: Sequence[str] = ("stride", "pool"),
        blocks: Sequence[int] = (0, 1, 2),
        squeeze_excitation: Sequence[bool] = (False, True),
        poolings: Sequence[str] = ("avg", "max"),
        zero_init: bool = False,
    ) -> None:
        """Options list the values of the decisions of these names; widths above `max_width` are dropped everywhere.

        Strides, transitions, squeeze-excitation and poolings can only be narrowed. `zero_init` initialises every
        residual block as the identity; it is not a decision because the architecture is the same.
        """
        self._stem_widths = at_most("max_width", opened("stem_widths", stem_widths, WIDTH), max_width)
        self._stem_strides = choices("stem_strides", stem_strides, (1, 2))
        self._stages = counts("stages", stages, len(_STAGE_WIDTHS))
        widths = [opened("stage widths", values, WIDTH) for values in _STAGE_WIDTHS]
        self._stage_widths = (
            *(at_most("max_width", values, max_width) for values in widths[: max(self._stages)]),
            *widths[max(self._stages):],
        )
        self._transitions = choices("transitions", transitions, ("stride", "pool"))
        self._blocks = opened("blocks", blocks, Whole(0, 64))
        self._squeeze_excitation = choices("squeeze_excitation", squeeze_excitation, (False, True))
        self._poolings = choices("poolings", poolings, ("avg", "max"))
        self._zero_init = zero_init

    def key(self) -> dict[str, object]:
        """Name, version and options, with the widths that `max_width` leaves."""
        return {"name": self.name, "version": self.version, "options": {
            "stem_widths": self._stem_widths,
            "stem_strides": self._stem_strides,
            "stages": self._stages,
            "stage_widths": self._stage_widths,
            "transitions": self._transitions,
            "blocks": self._blocks,
            "squeeze_excitation": self._squeeze_excitation,
            "poolings": self._poolings,
            "zero_init": self._zero_init,
        }}

    def decide(self, choose: Chooser) -> ResidualPlan:
        """Decide stem, number of stages, each stage, pooling. Only stages with blocks decide squeeze-excitation."""
        stem_width = choose.one_of("stem.width", self._stem_widths)
        stem_stride = choose.one_of("stem.stride", self._stem_strides)
        count = choose.one_of("stages", self._stages)
        stages = tuple(self._decide_stage(choose, number) for number in range(1, count + 1))
        return ResidualPlan(stem_width, stem_stride, stages, choose.one_of("pooling", self._poolings))

    def build(self, plan: ResidualPlan, spec: InputSpec) -> nn.Module:
        """Build the network of `plan`. A transition does not shrink a feature map below 2x2."""
        from torch import nn

        from nas_pipeline.space.network import MapSize, Network
        from nas_pipeline.space.ops import ConvBnAct, ResidualBlock

        size = MapSize(spec.height, spec.width)
        layers: list[nn.Module] = [ConvBnAct(spec.channels, plan.stem_width, size.shrink(plan.stem_stride))]
        width = plan.stem_width
        for stage in plan.stages:
            stride = size.shrink(2)
            pooled = stage.transition == "pool" and stride > 1
            layers.append(ConvBnAct(width, stage.width, 1 if pooled else stride))
            if pooled:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            width = stage.width
            layers.extend(
                ResidualBlock(
                    width, width, squeeze_excitation=stage.squeeze_excitation, zero_init=self._zero_init
                )
                for _ in range(stage.blocks)
            )
        return Network(nn.Sequential(*layers), width, spec.classes, plan.pooling)

    def _decide_stage(self, choose: Chooser, number: int) -> ResidualStage:
        name = f"stage{number}"
        width = choose.one_of(f"{name}.width", self._stage_widths[number - 1])
        transition = choose.one_of(f"{name}.transition", self._transitions)
        blocks = choose.one_of(f"{name}.blocks", self._blocks)
        excited = choose.one_of(f"{name}.squeeze_excitation", self._squeeze_excitation) if blocks else False
        return ResidualStage(width, transition, blocks, excited)
