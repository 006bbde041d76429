"""Regularised evolution: mutations of good candidates, in a population from which the oldest member is removed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.errors import ConfigError
from nas_pipeline.search.protocols import PastTrial
from nas_pipeline.space.choosers import mutate, sample


class Evolution:
    """Aging evolution with tournament selection.

    The population consists of the last `population` completed trials; until there are so many, candidates are drawn at
    random. A tournament of `sample_size` members, drawn with replacement, selects the parent; the proposal is the
    parent with one decision mutated. The member with the lowest total violation of the bounds wins the tournament,
    between equals the one with the better first objective. The paper has no bounds and one objective.

    Source: Real et al., arXiv:1802.01548 (AAAI 2019), algorithm 1. The paper's population of 100 and sample size of 25
    need thousands of trials; the defaults suit a hundred.
    """

    name = "evolution"
    version = 1

    def __init__(self, population: int = 20, sample_size: int = 8) -> None:
        """Sets the size of the population and of the tournament.

        Raises:
            ConfigError: `population` is below 2, or `sample_size` is not between 1 and `population`.
        """
        if population < 2:
            raise ConfigError(f"strategy evolution: population must be at least 2, got {population}")
        if not 1 <= sample_size <= population:
            raise ConfigError(f"strategy evolution: sample_size must be between 1 and population ({population}), got "
                              f"{sample_size}")
        self.population = population
        self.sample_size = sample_size

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version,
                "options": {"population": self.population, "sample_size": self.sample_size}}

    def propose(self, space: SearchSpace, history: Sequence[PastTrial], seed: int) -> Genotype:
        """Returns a random member of `space` while the population grows, then a mutation of a tournament's winner."""
        stream = random.Random(seed)
        if len(history) < self.population:
            return sample(space, stream)
        tournament = stream.choices(history[-self.population:], k=self.sample_size)
        parent = min(tournament, key=lambda trial: (sum(trial.violations.values()), trial.losses[0]))
        return mutate(space, parent.genotype, stream)
