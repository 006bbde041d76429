"""PC-DARTS: part of the channels passes through the operations, and edges have weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.strategy import DifferentiableStrategy
from nas_pipeline.search.differentiable.variants import Variant


@dataclass(frozen=True, kw_only=True)
class PcDarts(DifferentiableStrategy):
    """Needs about a quarter of the time and memory of DARTS.

    The defaults are those of the paper, except for its batch size of 256, which is large for small data sets.

    Source: Xu et al., arXiv:1907.05737.
    """

    name: ClassVar[str] = "pc_darts"

    partial: int = 4
    """1 / partial of the channels pass through the operations."""
    warmup: float = 0.3
    learning_rate: float = 0.1
    least_learning_rate: float = 0.001
    alpha_learning_rate: float = 6e-4

    def variant(self) -> Variant:
        """Returns partial channels and softmax mixing of operations and edges.

        Raises:
            ConfigError: `partial` is below 2, or `width` is not a multiple of it.
        """
        if self.partial < 2 or self.width % self.partial:
            raise ConfigError(f"strategy pc_darts: partial must be at least 2 and divide width; it is {self.partial}, "
                              f"width is {self.width}")
        return Variant("pc_darts", partial=self.partial)
