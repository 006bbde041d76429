"""GDAS: one sampled operation per edge, so a step costs about as much as a training step of one network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.strategy import DifferentiableStrategy
from nas_pipeline.search.differentiable.variants import Variant


@dataclass(frozen=True, kw_only=True)
class Gdas(DifferentiableStrategy):
    """Hard Gumbel sampling with a falling temperature.

    The eigenvalue guard is off, because it needs all operations at once, which this search avoids.

    Source: Dong and Yang, arXiv:1910.04465.
    """

    name: ClassVar[str] = "gdas"

    first_temperature: float = 10.0
    last_temperature: float = 0.1
    epochs: int = 250
    eigenvalue_every: int = 0

    def variant(self) -> Variant:
        """Returns full channels and one operation per edge.

        Raises:
            ConfigError: A temperature is not positive.
        """
        if min(self.first_temperature, self.last_temperature) <= 0:
            raise ConfigError("strategy gdas: temperatures must be positive")
        return Variant("gdas", first_temperature=self.first_temperature, last_temperature=self.last_temperature)
