"""NSGA-II: an evolving Pareto front."""

from __future__ import annotations

from optuna.samplers import BaseSampler, NSGAIISampler

from nas_pipeline.errors import ConfigError


class Nsga2:
    """Non-dominated sorting with constrained domination. Source: Deb, IEEE TEC 6 (2002).

    The population has to be small against the number of trials: with Optuna's default of 50, a hundred trials are
    two generations, that is, random search.
    """

    def __init__(self, population: int = 8, crossover: float = 0.9) -> None:
        """`crossover` is the probability that a child has two parents."""
        if population < 2:
            raise ConfigError("strategy nsga2: population must be at least 2")
        if not 0 <= crossover <= 1:
            raise ConfigError("strategy nsga2: crossover is a probability, between 0 and 1")
        self.population = population
        self.crossover = crossover

    def sampler(self, seed: int) -> BaseSampler:
        """A fresh sampler; its generations are read from the trials' attributes in the storage."""
        return NSGAIISampler(population_size=self.population, crossover_prob=self.crossover, seed=seed)
