"""Section `retrain`: the full training of the winner."""

from __future__ import annotations

from pydantic import Field, model_validator

from nas_pipeline.config.schema.base import Count, Positive, Section


class RetrainSection(Section):
    """The full training of the winner and of the baselines."""

    seeds: Count = 3
    device_s: Positive | None = None
    epochs: Positive | None = None
    workers: Count = 2
    baselines: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_budget(self) -> RetrainSection:
        if (self.device_s is None) == (self.epochs is None):
            raise ValueError("give exactly one of device_s and epochs")
        return self
