"""Mobile networks: 3 or 4 stages of inverted residuals, as MobileNetV2/V3 and their searched descendants.

A stage asks for exactly those settings that its operation takes, so a new row of OPS is searched by naming it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas_pipeline.core.protocols import Chooser
from nas_pipeline.core.records import InputSpec
from nas_pipeline.space.domains import KERNEL, OPERATION, WIDTH
from nas_pipeline.space.options import at_most, choices, counts, opened

if TYPE_CHECKING:
    from torch import nn  # of the decisions only the table of operations needs torch

_STAGE_WIDTHS = ((16, 24, 32), (24, 32, 48), (32, 48, 64), (48, 64, 96))
"""Of stages 1 to 4."""


@dataclass(frozen=True, slots=True)
class MBConvStage:
    """`depth` equal blocks, the first of stride 2. A setting that was not asked for is None."""

    operation: str
    width: int
    depth: int
    kernel: int | None
    expansion: int | None
    squeeze_excitation: bool | None
    skip: bool | None

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of every block of the operation, but for `skip`."""
        given = {
            "kernel": self.kernel, "expansion": self.expansion, "squeeze_excitation": self.squeeze_excitation
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class MBConvPlan:
    """A decoded mobile network."""

    stem_width: int
    stem_stride: int
    stages: tuple[MBConvStage, ...]
    head_width: int


class MBConvSpace:
    """Stem, 3 or 4 stages, a 1x1 convolution, global average pooling, linear.

    Source: Sandler et al., arXiv:1801.04381; Tan et al., arXiv:1807.11626 (the choices per stage).
    """

    name = "mbconv"
    version = 1

    def __init__(
        self,
        max_width: int = 96,
        operations: Sequence[str] = ("inverted_residual",),
        stem_widths: Sequence[int] = (16, 24, 32),
        stem_strides: Sequence[int] = (1, 2),
        stages: Sequence[int] = (3, 4),
        depths: Sequence[int] = (1, 2, 3),
        kernels: Sequence[int] = (3, 5, 7),
        expansions: Sequence[int] = (1, 2, 3, 4, 6),
        squeeze_excitation: Sequence[bool] = (False, True),
        skips: Sequence[bool] = (True, False),
        head_widths: Sequence[int] = (64, 128, 192),
    ) -> None:
        """Options set the decisions of these names; stem and stage widths above `max_width` are left out.

        Strides, squeeze-excitation and skips can only be narrowed. `operations` are names of OPS.
        """
        self._operations = opened("operations", operations, OPERATION)
        self._stem_widths = at_most("max_width", opened("stem_widths", stem_widths, WIDTH), max_width)
        self._stem_strides = choices("stem_strides", stem_strides, (1, 2))
        self._stages = counts("stages", stages, len(_STAGE_WIDTHS))
        widths = [opened("stage widths", each, WIDTH) for each in _STAGE_WIDTHS]
        self._stage_widths = (
            *(at_most("max_width", each, max_width) for each in widths[: max(self._stages)]),
            *widths[max(self._stages):],
        )
        self._depths = counts("depths", depths, 64)
        self._kernels = opened("kernels", kernels, KERNEL)
        self._expansions = counts("expansions", expansions, 64)
        self._squeeze_excitation = choices("squeeze_excitation", squeeze_excitation, (False, True))
        self._skips = choices("skips", skips, (True, False))
        self._head_widths = opened("head_widths", head_widths, WIDTH)

    def key(self) -> dict[str, object]:
        """Name, version and options, with the widths that `max_width` leaves."""
        return {"name": self.name, "version": self.version, "options": {
            "operations": self._operations,
            "stem_widths": self._stem_widths,
            "stem_strides": self._stem_strides,
            "stages": self._stages,
            "stage_widths": self._stage_widths,
            "depths": self._depths,
            "kernels": self._kernels,
            "expansions": self._expansions,
            "squeeze_excitation": self._squeeze_excitation,
            "skips": self._skips,
            "head_widths": self._head_widths,
        }}

    def decide(self, choose: Chooser) -> MBConvPlan:
        """Ask stem, number of stages, each stage, head. The skip is asked only where a second block has one."""
        stem_width = choose.one_of("stem.width", self._stem_widths)
        stem_stride = choose.one_of("stem.stride", self._stem_strides)
        count = choose.one_of("stages", self._stages)
        stages = tuple(self._decide_stage(choose, number) for number in range(1, count + 1))
        return MBConvPlan(stem_width, stem_stride, stages, choose.one_of("head.width", self._head_widths))

    def build(self, plan: MBConvPlan, spec: InputSpec) -> nn.Module:
        """The network of `plan`. A stage keeps the map where half of it would be under 2x2."""
        from torch import nn

        from nas_pipeline.space.network import MapSize, Network
        from nas_pipeline.space.ops import OPS, ConvBnAct, settings

        size = MapSize(spec.height, spec.width)
        layers: list[nn.Module] = [ConvBnAct(spec.channels, plan.stem_width, size.shrink(plan.stem_stride))]
        width = plan.stem_width
        for stage in plan.stages:
            operation = OPS[stage.operation]
            may_skip = "skip" in settings(stage.operation)
            for index in range(stage.depth):
                # The first block changes the map: it has no identity, whatever its widths happen to be.
                skip = {"skip": bool(index and stage.skip)} if may_skip else {}
                stride = 1 if index else size.shrink(2)
                layers.append(operation(width, stage.width, stride, **stage.settings(), **skip))
                width = stage.width
        layers.append(ConvBnAct(width, plan.head_width, kernel=1))
        return Network(nn.Sequential(*layers), plan.head_width, spec.classes)

    def _decide_stage(self, choose: Chooser, number: int) -> MBConvStage:
        from nas_pipeline.space.ops import settings

        name = f"stage{number}"
        operation = choose.one_of(f"{name}.operation", self._operations)
        takes = settings(operation)
        depth = choose.one_of(f"{name}.depth", self._depths)
        return MBConvStage(
            operation=operation,
            width=choose.one_of(f"{name}.width", self._stage_widths[number - 1]),
            depth=depth,
            kernel=choose.one_of(f"{name}.kernel", self._kernels) if "kernel" in takes else None,
            expansion=choose.one_of(f"{name}.expansion", self._expansions) if "expansion" in takes else None,
            squeeze_excitation=(
                choose.one_of(f"{name}.squeeze_excitation", self._squeeze_excitation)
                if "squeeze_excitation" in takes else None
            ),
            skip=choose.one_of(f"{name}.skip", self._skips) if "skip" in takes and depth > 1 else None,
        )
