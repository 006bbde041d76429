"""Random search: the random_baseline of every other strategy."""

from __future__ import annotations

from optuna.samplers import BaseSampler, RandomSampler


class Random:
    """Independent draws. Source: Bergstra and Bengio, JMLR 13 (2012); Li and Talwalkar, arXiv:1902.07638."""

    def sampler(self, seed: int) -> BaseSampler:
        """A fresh random sampler."""
        return RandomSampler(seed=seed)
