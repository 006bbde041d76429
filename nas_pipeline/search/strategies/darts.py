"""DARTS: all operations at once, mixed by a softmax, with first- or second-order gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas_pipeline.search.differentiable.strategy import DifferentiableStrategy
from nas_pipeline.search.differentiable.variants import Variant


@dataclass(frozen=True, kw_only=True)
class Darts(DifferentiableStrategy):
    """Differentiable architecture search. The guards come from later papers; see `Guards`.

    Source: Liu et al., arXiv:1806.09055.
    """

    name: ClassVar[str] = "darts"

    def variant(self) -> Variant:
        """Returns full channels and softmax mixing."""
        return Variant("darts")
