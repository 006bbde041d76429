"""Optuna as a chooser: a space's decisions become a trial's parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import optuna
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas_pipeline.core.genotype import Gene
from nas_pipeline.errors import SpaceError

G = TypeVar("G", bound=Gene)

SamplerFor = Callable[[str], BaseSampler]
"""Name of a decision -> a fresh sampler for it."""


class TrialChooser:
    """Makes each decision with `trial.suggest_*`; a parameter that the trial already has is replayed.

    Each decision is drawn by a sampler of its own. With one stream for all of them, a trial whose worker died between
    two decisions would be continued with other draws than an undisturbed one: replayed decisions consume no random
    numbers.
    """

    def __init__(self, trial: optuna.trial.Trial, sampler_for: SamplerFor) -> None:
        """`sampler_for` returns a fresh sampler, seeded by the name of the decision."""
        self._trial = trial
        self._sampler_for = sampler_for

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """A categorical parameter. Optuna requires that a name always has the same options."""
        self._prepare(name, single=len(options) == 1)
        return cast(G, self._trial.suggest_categorical(name, list(options)))

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """A float parameter."""
        self._prepare(name, single=low == high)
        return self._trial.suggest_float(name, low, high, log=log)

    def _prepare(self, name: str, single: bool) -> None:
        """Sets the sampler of the decision.

        Samplers such as TPE draw most parameters of a trial jointly, which Optuna does when it first needs one of them.
        Reading `relative_params` makes that the first decision with a choice, also in a trial whose first decisions are
        replayed: otherwise the sampler of a later decision, with another seed, would draw them.
        """
        self._trial.study.sampler = self._sampler_for(name)
        if not single:
            _ = self._trial.relative_params


class GenotypeSampler(BaseSampler):
    """Returns the genes of a genotype, so that an architecture from elsewhere becomes a trial like any other."""

    def __init__(self, genes: Mapping[str, Gene]) -> None:
        """`genes`: decision -> choice."""
        self._genes = genes

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Returns an empty space: each decision is sampled independently."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns no values."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Returns the gene of that name.

        Raises:
            SpaceError: The genotype has no such gene, or the space does not offer its value.
        """
        if param_name not in self._genes:
            raise SpaceError(f"the proposed genotype has no gene {param_name!r}")
        value = self._genes[param_name]
        if isinstance(param_distribution, CategoricalDistribution) and value not in param_distribution.choices:
            offered = ", ".join(map(repr, param_distribution.choices))
            raise SpaceError(f"the proposed genotype has {param_name} = {value!r}, and the space offers {offered}")
        return value
