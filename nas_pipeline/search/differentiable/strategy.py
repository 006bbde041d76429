"""A differentiable search as a strategy: each seed derives one genotype; what is asked for beyond them is random."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, fields
from pathlib import Path
from typing import Any

from optuna.samplers import BaseSampler, RandomSampler

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


class _Given:
    """What the pipeline hands in. A slot, so that `vars` of a strategy, part of a study's name, are its options."""

    __slots__ = ("_given",)

    _given: tuple[Path | None, str, Recipe | None, Deploy | None]

    def __getstate__(self) -> tuple[dict[str, Any], Any]:
        return vars(self), self._given

    def __setstate__(self, state: tuple[dict[str, Any], Any]) -> None:
        vars(self).update(state[0])
        object.__setattr__(self, "_given", state[1])  # the options are frozen


@dataclass(frozen=True, kw_only=True)
class DifferentiableStrategy(_Given, Settings):
    """Base of darts, pc_darts and gdas: a subclass names its variant and its own defaults."""

    data: InitVar[Path | None] = None
    """Folder of the ingested data; of its shards the search uses train alone."""
    device: InitVar[str] = "auto"
    recipe: InitVar[Recipe | None] = None
    deploy: InitVar[Deploy | None] = None

    def __post_init__(
        self, data: Path | None, device: str, recipe: Recipe | None, deploy: Deploy | None
    ) -> None:
        super().__post_init__()
        object.__setattr__(self, "_given", (data, device, recipe, deploy))
        self.variant()  # its own options are refused here, not when the search starts

    def variant(self) -> Variant:
        """What the subclass is."""
        raise NotImplementedError

    def check(self, space: SearchSpace) -> None:
        """See that the derived networks are members of `space`.

        Raises:
            ConfigError: It has no cells, or offers others than these settings derive.
        """
        if not isinstance(space, CellSpace):
            raise ConfigError(f"a differentiable search needs the space cell, not {space.name!r}; set "
                              "search.space to {name: cell, options: {}}")
        wanted = {"eval_width": ("widths", self.eval_width), "eval_cells": ("cells", self.eval_cells),
                  "nodes": ("nodes", self.nodes)}
        for mine, (option, value) in wanted.items():
            if value not in (offered := space.offers(option)):
                raise ConfigError(f"the search derives networks with {mine} = {value}, and the space offers {option} "
                                  f"{list(offered)}; make search.strategy.options.{mine} and "
                                  f"search.space.options.{option} agree")
        if left := [op for op in self.ops if op != NONE and op not in space.offers("ops")]:
            raise ConfigError(f"the search chooses among {', '.join(left)}, which the space does not offer; make "
                              "search.strategy.options.ops and search.space.options.ops agree")

    def sampler(self, seed: int) -> BaseSampler:
        """Random genotypes of the same space: what the derived ones are compared with."""
        return RandomSampler(seed=seed)

    def derive(self, seed: int, folder: Path) -> Derived:
        """One search, or the rest of one that was cut off.

        Raises:
            ConfigError: The pipeline handed in no data.
            SearchRefusal: No cell keeps the bounds.
            TrainError: The loss was not finite in three epochs, or there was not enough memory.
        """
        data, device, recipe, deploy = self._given
        if data is None:
            raise ConfigError("a differentiable search needs images; hand in `data`, the folder of the ingest stage")
        common = {each.name: getattr(self, each.name) for each in fields(Settings)}
        return DifferentiableSearch(Settings(**common), self.variant()).run(
            load_search_data(data), seed, folder, device=pick_device(device), recipe=recipe, deploy=deploy,
        )
