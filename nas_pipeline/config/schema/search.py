"""Section `search`: space, strategy, evaluator, objective and budget."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from nas_pipeline.config.schema.base import Count, PlugIn, Positive, Section

Direction = Literal["maximize", "minimize"]

_DEFAULT_OBJECTIVES: dict[str, Direction] = {
    "val_accuracy": "maximize", "latency_ms": "minimize", "size_bytes": "minimize",
}


class SearchBudget(Section):
    """Bounds of a search; the first that is reached ends it."""

    trials: Count | None = None
    wall_s: Positive | None = None
    device_s: Positive | None = None

    @model_validator(mode="after")
    def _bounded(self) -> SearchBudget:
        if self.trials is None and self.wall_s is None and self.device_s is None:
            raise ValueError("give at least one of trials, wall_s, device_s: a search must end")
        return self


class ParetoObjectiveSection(Section):
    """Several objectives without weights: the result is a Pareto front."""

    kind: Literal["pareto"] = "pareto"
    objectives: dict[str, Direction] = Field(default_factory=lambda: dict(_DEFAULT_OBJECTIVES))

    @model_validator(mode="after")
    def _some_objective(self) -> ParetoObjectiveSection:
        if not self.objectives:
            raise ValueError("objectives is empty: name at least one metric with maximize or minimize")
        return self


class WeightedObjectiveSection(Section):
    """One weighted cost of error and excess over the bounds. Early stopping needs this kind."""

    kind: Literal["weighted"]
    accuracy: Positive = 1.0
    latency: float = Field(default=0.1, ge=0)
    params: float = Field(default=0.1, ge=0)
    early_stopping: str = "median"
    """A row of the catalogue EARLY_STOPPING: none, median, asha."""


ObjectiveSection = Annotated[ParetoObjectiveSection | WeightedObjectiveSection, Field(discriminator="kind")]


class Finalists(Section):
    """The best candidates are scored again by a longer training, which decides; count 0 switches that off."""

    count: int = Field(default=4, ge=0)
    options: dict[str, Any] = Field(default_factory=dict)


class SearchSection(Section):
    """Space, strategy, evaluator, objective and budget of the search."""

    space: PlugIn
    strategy: PlugIn
    evaluator: PlugIn
    objective: ObjectiveSection = ParetoObjectiveSection()
    budget: SearchBudget
    finalists: Finalists = Finalists()
    random_baseline: Literal["auto", "always", "never"] = "auto"
    """Random search of the same cost beside the search; `auto`: where the strategy derives its candidates."""
    latency_headroom: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Share of the latency bound that candidates must meet: the search measures medians, the gate p95."""
    latency_runs: Count = 40
    workers: Count = 2
    seed: int = 0
    storage: str | None = None
