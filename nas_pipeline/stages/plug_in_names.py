"""Checks the names of plug-ins in params.yaml against the catalogues, before the first stage."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from typing import Any

from nas_pipeline.config.schema.base import PlugIn
from nas_pipeline.config.schema.params import Params
from nas_pipeline.config.schema.search import ParetoObjectiveSection
from nas_pipeline.core.catalog import Catalog
from nas_pipeline.errors import ConfigError
from nas_pipeline.latency.probes import PROBES
from nas_pipeline.search import EVALUATORS, STRATEGIES
from nas_pipeline.search.early_stopping import EARLY_STOPPING
from nas_pipeline.search.protocols import GradientSearch
from nas_pipeline.space import SPACES
from nas_pipeline.space.baselines import BASELINES
from nas_pipeline.train.optimiser import OPTIMISERS


def check_names(params: Params) -> None:
    """Checks that plug-ins, baselines, probes and metrics exist, before a long search that they are needed after.

    Raises:
        ConfigError: One line for each unknown name, with the nearest known one.
    """
    if lines := list(_mistakes(params)):
        raise ConfigError(f"params.yaml has {len(lines)} error(s):\n" + "\n".join(f"  {line}" for line in lines))


def _mistakes(params: Params) -> Iterator[str]:
    search = params.search
    yield from _not_constructible("search.space", SPACES, search.space)
    yield from _not_constructible("search.strategy", STRATEGIES, search.strategy)
    yield from _incompatible(search.space, search.strategy)
    yield from _unknown("search.evaluator", "evaluator", search.evaluator.name, EVALUATORS)
    # An evaluator from another package need not declare its metrics.
    metrics = getattr(EVALUATORS[name], "metrics", ()) if (name := search.evaluator.name) in EVALUATORS else ()
    if isinstance(search.objective, ParetoObjectiveSection):
        for metric in search.objective.objectives if metrics else ():
            yield from _unknown("search.objective.objectives", "metric", metric, metrics)
    else:
        yield from _unknown("search.objective.early_stopping", "early stopping", search.objective.early_stopping,
                            EARLY_STOPPING)
    for name in params.retrain.baselines:
        yield from _unknown("retrain.baselines", "hand-designed network", name, BASELINES)
    yield from _unknown("train.recipe.optimiser", "optimiser", params.train.as_recipe().optimiser, OPTIMISERS)
    for target, bounds in params.targets.items():
        yield from _unknown(f"targets.{target}.probe", "probe", bounds.probe, PROBES)


def _unknown(key: str, kind: str, name: str, names: Collection[str]) -> Iterator[str]:
    if name not in names:
        near = difflib.get_close_matches(name, list(names), n=1)
        meant = f"did you mean {near[0]!r}?" if near else "there are:"
        yield f"{key}: unknown {kind} {name!r}; {meant} ({', '.join(names)})"


def _not_constructible(key: str, catalogue: Catalog[Any], plug_in: PlugIn) -> Iterator[str]:
    try:
        catalogue.make(plug_in.name, plug_in.options)
    except (ConfigError, TypeError, ValueError) as error:
        yield f"{key}: {error}"


def _incompatible(space: PlugIn, strategy: PlugIn) -> Iterator[str]:
    """A gradient search derives genotypes of one space only."""
    try:
        search, members = STRATEGIES.make(strategy.name, strategy.options), SPACES.make(space.name, space.options)
    except (ConfigError, TypeError, ValueError):
        return  # reported by `_not_constructible`
    if isinstance(search, GradientSearch):
        try:
            search.check(members)
        except ConfigError as error:
            yield f"search.strategy: {error}"
