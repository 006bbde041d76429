"""A differentiable search as a strategy of the kind `GradientSearch`: each seed derives one genotype."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.data.loaders import load_search_data
from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.derivation.cost_model import DeploymentCosts as Deploy
from nas_pipeline.search.differentiable.derivation.integer_program import NONE
from nas_pipeline.search.differentiable.run import DifferentiableSearch
from nas_pipeline.search.differentiable.settings import Settings
from nas_pipeline.search.differentiable.variants import Variant
from nas_pipeline.search.protocols import Derived
from nas_pipeline.space.cell import CellSpace
from nas_pipeline.train.device import pick_device
from nas_pipeline.train.recipe import Recipe

PIPELINE_ARGUMENTS = ("data", "device", "recipe", "deploy")
"""The arguments of a constructor that the pipeline passes; the others are options of the user."""


@dataclass(frozen=True, kw_only=True)
class DifferentiableStrategy(Settings):
    """Base of darts, pc_darts and gdas: a subclass sets its variant and its own defaults."""

    version: ClassVar[int] = 1
    name: ClassVar[str]

    data: Path | None = None
    """Folder of the ingested data; of its shards the search uses train alone."""
    device: str = "auto"
    recipe: Recipe | None = None
    deploy: Deploy | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.variant()  # checks the options of the subclass when it is created, not when the search starts

    def key(self) -> dict[str, object]:
        """Name, version and options. What the pipeline passes is not part of it: the evaluator's key covers that."""
        options = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in PIPELINE_ARGUMENTS}
        return {"name": self.name, "version": self.version, "options": options}

    def variant(self) -> Variant:
        """Returns the variant of the subclass."""
        raise NotImplementedError

    def check(self, space: SearchSpace) -> None:
        """Checks that the derived networks are members of `space`.

        Raises:
            ConfigError: It is not the space of cells, or does not offer what these settings derive.
        """
        if not isinstance(space, CellSpace):
            raise ConfigError(f"a differentiable search needs the space cell, not {space.name!r}; set "
                              "search.space to {name: cell, options: {}}")
        wanted = {"eval_width": ("widths", self.eval_width), "eval_cells": ("cells", self.eval_cells),
                  "nodes": ("nodes", self.nodes)}
        for setting, (option, value) in wanted.items():
            if value not in (offered := space.offers(option)):
                raise ConfigError(f"the search derives networks with {setting} = {value}, and the space offers "
                                  f"{option} {list(offered)}; make search.strategy.options.{setting} and "
                                  f"search.space.options.{option} agree")
        if left := [op for op in self.ops if op != NONE and op not in space.offers("ops")]:
            raise ConfigError(f"the search chooses among {', '.join(left)}, which the space does not offer; make "
                              "search.strategy.options.ops and search.space.options.ops agree")

    def derive(self, seed: int, folder: Path) -> Derived:
        """Runs one search, or resumes one that was interrupted.

        Raises:
            ConfigError: `data` was not passed.
            SearchRefusal: No cell meets the bounds.
            TrainError: The loss was not finite in three epochs, or there was not enough memory.
        """
        if self.data is None:
            raise ConfigError("a differentiable search needs images; pass `data`, the folder of the ingest stage")
        settings = Settings(**{item.name: getattr(self, item.name) for item in fields(Settings)})
        return DifferentiableSearch(settings, self.variant()).run(
            load_search_data(self.data), seed, folder, device=pick_device(self.device), recipe=self.recipe,
            deploy=self.deploy,
        )
