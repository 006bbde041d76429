"""Objective functions: how metrics become the values that a study optimises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from nas_pipeline.core.measures import Objective

Goal = Literal["maximize", "minimize"]


class ObjectiveFunction(Protocol):
    """Directions and values of a study."""

    @property
    def directions(self) -> list[Goal]:
        """The direction of each value."""
        ...

    def values(self, metrics: Mapping[str, float]) -> list[float]:
        """Returns the values of a candidate, in the order of `directions`."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain data, part of the study's name."""
        ...


@dataclass(frozen=True, slots=True)
class ParetoObjective:
    """Several objectives; the result is a set of compromises between them."""

    objectives: tuple[Objective, ...]

    @property
    def directions(self) -> list[Goal]:
        """One per objective."""
        return [objective.goal for objective in self.objectives]

    def values(self, metrics: Mapping[str, float]) -> list[float]:
        """Returns the metrics themselves."""
        return [metrics[objective.metric] for objective in self.objectives]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"pareto": [asdict(objective) for objective in self.objectives]}


@dataclass(frozen=True, slots=True)
class WeightedObjective:
    """error x weight + excess over each bound x its weight: one objective, so early stopping is possible.

    The excess of a metric over its bound is relative, and zero below the bound: a network that is faster than required
    gains nothing.

    Source: Tan et al., arXiv:1807.11626 (MnasNet), with a hinge instead of a power.
    """

    accuracy: float
    latency: float
    params: float
    latency_bound_ms: float
    params_bound: float

    @property
    def directions(self) -> list[Goal]:
        """One cost, to be minimised."""
        return ["minimize"]

    def values(self, metrics: Mapping[str, float]) -> list[float]:
        """Returns the cost."""
        over_latency = max(0.0, metrics["latency_ms"] / self.latency_bound_ms - 1)
        over_params = max(0.0, metrics["params"] / self.params_bound - 1)
        error = 1 - metrics["val_accuracy"]
        return [self.accuracy * error + self.latency * over_latency + self.params * over_params]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"weighted": asdict(self)}
