"""NSGA-II: a genetic algorithm that approximates the Pareto front."""

from __future__ import annotations

from optuna.samplers import BaseSampler, NSGAIISampler

from nas_pipeline.errors import ConfigError


class Nsga2:
    """Non-dominated sorting with constrained domination.

    The population has to be small compared with the number of trials: with Optuna's default of 50, a hundred trials
    are two generations, which is random search.

    Source: Deb et al., IEEE TEC 6 (2002).
    """

    name = "nsga2"
    version = 1

    def __init__(self, population: int = 8, crossover: float = 0.9) -> None:
        """Sets the size of a generation and the probability that a child has two parents.

        Raises:
            ConfigError: `population` is below 2, or `crossover` is not in [0, 1].
        """
        if population < 2:
            raise ConfigError("strategy nsga2: population must be at least 2")
        if not 0 <= crossover <= 1:
            raise ConfigError("strategy nsga2: crossover is a probability, between 0 and 1")
        self.population = population
        self.crossover = crossover

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version,
                "options": {"population": self.population, "crossover": self.crossover}}

    def sampler(self, seed: int) -> BaseSampler:
        """Returns a fresh sampler; its generations are read from the trials' attributes in the storage."""
        return NSGAIISampler(population_size=self.population, crossover_prob=self.crossover, seed=seed)
