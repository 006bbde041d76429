"""TPE: a model of the distributions of good and of bad choices."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler

from nas_pipeline.errors import ConfigError


class Tpe:
    """Tree-structured Parzen estimator over conditional decisions, several objectives and constraints.

    Source: Bergstra et al., NeurIPS 2011.
    """

    name = "tpe"
    version = 1

    def __init__(self, startup_trials: int = 10) -> None:
        """Sets the number of random trials before the model is used.

        Raises:
            ConfigError: `startup_trials` is below 1.
        """
        if startup_trials < 1:
            raise ConfigError("strategy tpe: startup_trials must be at least 1")
        self.startup_trials = startup_trials

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {"startup_trials": self.startup_trials}}

    def sampler(self, seed: int) -> BaseSampler:
        """Returns a fresh sampler; the constant liar keeps parallel workers from proposing the same candidate."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # `group` handles conditional decisions
            return TPESampler(
                n_startup_trials=self.startup_trials, seed=seed, multivariate=True, group=True, constant_liar=True
            )
