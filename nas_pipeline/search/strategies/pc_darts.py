"""PC-DARTS: a part of the channels passes through the operations, and edges have weights of their own."""

from __future__ import annotations

from dataclasses import dataclass

from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.strategy import DifferentiableStrategy
from nas_pipeline.search.differentiable.variants import Variant


@dataclass(frozen=True, kw_only=True)
class PcDarts(DifferentiableStrategy):
    """About a quarter of the time and memory of DARTS. Source: Xu et al., arXiv:1907.05737.

    The defaults are the paper's but for the batch of 256, which is large where training images are few.
    """

    partial: int = 4
    """1 / partial of the channels pass through the operations."""
    warmup: float = 0.3
    learning_rate: float = 0.1
    least_learning_rate: float = 0.001
    alpha_learning_rate: float = 6e-4

    def variant(self) -> Variant:
        """Partial channels, softmax over operations and edges.

        Raises:
            ConfigError: `width` is no multiple of `partial`.
        """
        if self.partial < 2 or self.width % self.partial:
            raise ConfigError(f"strategy pc_darts: partial must be at least 2 and divide width; it is {self.partial}, "
                              f"width is {self.width}")
        return Variant("pc_darts", partial=self.partial)
