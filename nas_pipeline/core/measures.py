"""Budgets, objectives and constraints of a search. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal


@dataclass(frozen=True, slots=True)
class Spend:
    """Resources consumed so far."""

    trials: int = 0
    wall_s: float = 0.0
    device_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper bounds; None: unbounded. `device_s` counts CPU or GPU seconds, summed over all workers."""

    trials: int | None = None
    wall_s: float | None = None
    device_s: float | None = None

    def exceeded_by(self, spend: Spend) -> str | None:
        """Returns the name of the first bound that `spend` has reached, or None."""
        for field in fields(self):
            bound = getattr(self, field.name)
            if bound is not None and getattr(spend, field.name) >= bound:
                return field.name
        return None


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric to maximise or minimise."""

    metric: str
    goal: Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on a metric."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Returns the relative excess over the bound. Feasible: at most 0. A missing metric or NaN gives 1."""
        value = metrics.get(self.metric)
        if value is None or value != value:
            return 1.0
        excess = [0.0] if self.at_most is None and self.at_least is None else []
        if self.at_most is not None:
            excess.append((value - self.at_most) / max(abs(self.at_most), 1e-12))
        if self.at_least is not None:
            excess.append((self.at_least - value) / max(abs(self.at_least), 1e-12))
        return max(excess)
