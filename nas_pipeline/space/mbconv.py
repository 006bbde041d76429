"""Mobile networks: 3 or 4 stages of inverted residuals, as MobileNetV2/V3 and the networks found by search after them.

The decisions of a stage follow from the settings of its operation, so a row of OPS is searched once `operations` names
it. Every setting (keyword-only argument) of such an operation must be one of three:

- in `SETTINGS`: it is a decision of the stage, among the values of the option of the space;
- in `FIXED_SETTINGS`, or fixed by the row itself with `functools.partial`: the operation's value is used;
- anything else is an error, raised when the space is constructed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_pipeline.core.genotype import Gene
from nas_pipeline.core.protocols import Chooser
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError
from nas_pipeline.space.domains import KERNEL, OPERATION, WIDTH
from nas_pipeline.space.options import at_most, choices, counts, opened

if TYPE_CHECKING:
    from torch import nn  # among the decisions only the table of operations needs torch

SETTINGS = {
    "kernel": "kernels", "expansion": "expansions", "squeeze_excitation": "squeeze_excitation", "skip": "skips",
}
"""Setting of an operation -> option of the space that lists its values, in the order of the decisions of a stage.

A new setting is searched after two additions: a row here, and an option of that name in the constructor."""

FIXED_SETTINGS = frozenset({"activation", "affine", "batch_norm", "norm", "zero_init"})
"""Settings that are not searched: the default of the operation is used."""

_STAGE_WIDTHS = ((16, 24, 32), (24, 32, 48), (32, 48, 64), (48, 64, 96))
"""Of stages 1 to 4."""


@dataclass(frozen=True, slots=True)
class MBConvStage:
    """`depth` blocks of one operation, equal but for the stride: that of the first is 2."""

    operation: str
    width: int
    depth: int
    settings: tuple[tuple[str, Gene], ...]
    """Name and value of each decided setting of the operation, `skip` included."""


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
        """Options list the values of the decisions of these names; stem and stage widths above `max_width` are dropped.

        Strides, squeeze-excitation and skips can only be narrowed. `operations` are names of OPS.

        Raises:
            ConfigError: An option is not legal, or an operation has a setting that is neither searched nor fixed.
        """
        self._operations = opened("operations", operations, OPERATION)
        for operation in self._operations:
            if operation not in OPERATION.known:  # those would import torch; the decisions of a stage check them
                _searched_settings(operation)
        self._stem_widths = at_most("max_width", opened("stem_widths", stem_widths, WIDTH), max_width)
        self._stem_strides = choices("stem_strides", stem_strides, (1, 2))
        self._stages = counts("stages", stages, len(_STAGE_WIDTHS))
        widths = [opened("stage widths", values, WIDTH) for values in _STAGE_WIDTHS]
        self._stage_widths = (
            *(at_most("max_width", values, max_width) for values in widths[: max(self._stages)]),
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
        """Decide stem, number of stages, each stage, head."""
        stem_width = choose.one_of("stem.width", self._stem_widths)
        stem_stride = choose.one_of("stem.stride", self._stem_strides)
        count = choose.one_of("stages", self._stages)
        stages = tuple(self._decide_stage(choose, number) for number in range(1, count + 1))
        return MBConvPlan(stem_width, stem_stride, stages, choose.one_of("head.width", self._head_widths))

    def build(self, plan: MBConvPlan, spec: InputSpec) -> nn.Module:
        """Build the network of `plan`. A stage does not shrink a feature map below 2x2."""
        from torch import nn

        from nas_pipeline.space.network import MapSize, Network
        from nas_pipeline.space.ops import OPS, ConvBnAct, settings

        size = MapSize(spec.height, spec.width)
        layers: list[nn.Module] = [ConvBnAct(spec.channels, plan.stem_width, size.shrink(plan.stem_stride))]
        width = plan.stem_width
        for stage in plan.stages:
            operation = OPS[stage.operation]
            arguments = dict(stage.settings)
            skip = bool(arguments.pop("skip", False))
            for index in range(stage.depth):
                if "skip" in settings(stage.operation):
                    # The first block changes the map, so it has no identity, even where its widths are equal.
                    arguments["skip"] = index > 0 and skip
                layers.append(operation(width, stage.width, 1 if index else size.shrink(2), **arguments))
                width = stage.width
        layers.append(ConvBnAct(width, plan.head_width, kernel=1))
        return Network(nn.Sequential(*layers), plan.head_width, spec.classes)

    def _decide_stage(self, choose: Chooser, number: int) -> MBConvStage:
        name = f"stage{number}"
        operation = choose.one_of(f"{name}.operation", self._operations)
        depth = choose.one_of(f"{name}.depth", self._depths)
        width = choose.one_of(f"{name}.width", self._stage_widths[number - 1])
        settings = tuple(
            (setting, choose.one_of(f"{name}.{setting}", self._values(setting)))
            for setting in _searched_settings(operation)
            if setting != "skip" or depth > 1  # only a second block can have an identity
        )
        return MBConvStage(operation, width, depth, settings)

    def _values(self, setting: str) -> Sequence[Gene]:
        values: Sequence[Gene] = getattr(self, f"_{SETTINGS[setting]}")
        return values


def _searched_settings(operation: str) -> list[str]:
    """Settings of `operation` that a stage decides, in the order of `SETTINGS`.

    Raises:
        ConfigError: The operation has a setting that is neither searched nor fixed.
    """
    from nas_pipeline.space.ops import settings

    declared = settings(operation)
    unknown = sorted(declared - SETTINGS.keys() - FIXED_SETTINGS)
    if unknown:
        raise ConfigError(
            f"space 'mbconv' cannot search operation {operation!r}: it has no option for the setting "
            f"{', '.join(map(repr, unknown))}; fix it in the row of the operation with functools.partial, or add it to "
            "SETTINGS or FIXED_SETTINGS in nas_pipeline/space/mbconv.py"
        )
    return [setting for setting in SETTINGS if setting in declared]
