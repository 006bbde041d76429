"""Tree-structured Parzen estimator: a model of good and bad choices."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler

from nas_pipeline.errors import ConfigError


class Tpe:
    """TPE over conditional decisions, several objectives and constraints. Source: Bergstra, NeurIPS 2011."""

    def __init__(self, startup_trials: int = 10) -> None:
        """`startup_trials` are drawn at random before the model starts."""
        if startup_trials < 1:
            raise ConfigError("strategy tpe: startup_trials must be at least 1")
        self.startup_trials = startup_trials

    def sampler(self, seed: int) -> BaseSampler:
        """A fresh sampler; the constant liar keeps parallel workers from proposing the same candidate."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # `group` splits conditional spaces; it has no heir
            return TPESampler(
                n_startup_trials=self.startup_trials, seed=seed, multivariate=True, group=True, constant_liar=True
            )
