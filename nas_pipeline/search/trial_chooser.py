"""Optuna as a chooser: a space's decisions become a trial's parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import optuna
from optuna.samplers import BaseSampler

from nas_pipeline.core.genotype import Gene

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
