"""DARTS: all operations at once, mixed by a softmax, in first or second order."""

from __future__ import annotations

from dataclasses import dataclass

from nas_pipeline.search.differentiable.strategy import DifferentiableStrategy
from nas_pipeline.search.differentiable.variants import Variant


@dataclass(frozen=True, kw_only=True)
class Darts(DifferentiableStrategy):
    """Source: Liu et al., arXiv:1806.09055. The guards are of later papers; see `Guards`."""

    def variant(self) -> Variant:
        """Full channels, softmax."""
        return Variant("darts")
