"""Section `train`: the training settings that search and retrain share."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from nas_pipeline.config.schema.base import Section
from nas_pipeline.core.catalog import Catalog
from nas_pipeline.errors import ConfigError
from nas_pipeline.train.recipe import Recipe


class TrainSection(Section):
    """Training settings that search and retrain share."""

    recipe: dict[str, Any] = Field(default_factory=dict)
    device: str = "auto"

    @model_validator(mode="after")
    def _is_a_recipe(self) -> TrainSection:
        try:
            self.as_recipe()
        except (ConfigError, TypeError) as error:
            raise ValueError(str(error)) from None
        return self

    def as_recipe(self) -> Recipe:
        """Returns the recipe as the record that the packages use."""
        return Catalog("key", {"train.recipe": Recipe}).make("train.recipe", self.recipe)
