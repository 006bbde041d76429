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


class TrialChooser:
    """Answers each decision with `trial.suggest_*`; a parameter that the trial already has is replayed.

    Each decision is drawn by a sampler of its own. From one stream a trial whose worker died between two decisions
    would be finished with other draws than an undisturbed one: those that are replayed consume none.
    """

    def __init__(self, trial: optuna.trial.Trial, sampler_for: Callable[[str], BaseSampler]) -> None:
        """`sampler_for`: a fresh sampler, seeded by the name of the decision."""
        self._trial = trial
        self._sampler_for = sampler_for

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """A categorical parameter; a name always comes with the same options (Optuna's rule, and ours)."""
        self._trial.study.sampler = self._sampler_for(name)
        return cast(G, self._trial.suggest_categorical(name, list(options)))

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """A float parameter."""
        self._trial.study.sampler = self._sampler_for(name)
        return self._trial.suggest_float(name, low, high, log=log)


class GivenSampler(BaseSampler):
    """Answers with given values, so that an architecture that was found elsewhere becomes a trial like any other."""

    def __init__(self, values: Mapping[str, Gene]) -> None:
        """`values`: decision -> choice."""
        self._values = values

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: each decision is answered alone."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The given value.

        Raises:
            SpaceError: The space asks for a decision that has none, or does not offer it.
        """
        if param_name not in self._values:
            raise SpaceError(f"the derived genotype has no gene {param_name!r}")
        value = self._values[param_name]
        if isinstance(param_distribution, CategoricalDistribution) and value not in param_distribution.choices:
            offered = ", ".join(map(repr, param_distribution.choices))
            raise SpaceError(f"the derived genotype has {param_name} = {value!r}, and the space offers {offered}")
        return value
