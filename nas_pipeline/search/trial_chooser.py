"""Optuna as a chooser: a space's decisions become a trial's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

import optuna

from nas_pipeline.core.genotype import Gene

G = TypeVar("G", bound=Gene)


class TrialChooser:
    """Answers each decision with `trial.suggest_*`; a parameter that the trial already has is replayed."""

    def __init__(self, trial: optuna.trial.Trial) -> None:
        self._trial = trial

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """A categorical parameter; a name always comes with the same options (Optuna's rule, and ours)."""
        return cast(G, self._trial.suggest_categorical(name, list(options)))

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """A float parameter."""
        return self._trial.suggest_float(name, low, high, log=log)
