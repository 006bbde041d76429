"""Random search: the baseline with which every other strategy is compared."""

from __future__ import annotations

from optuna.samplers import BaseSampler, RandomSampler


class Random:
    """Independent draws.

    Source: Bergstra and Bengio, JMLR 13 (2012); Li and Talwalkar, arXiv:1902.07638.
    """

    name = "random"
    version = 1
    learns = False

    def key(self) -> dict[str, object]:
        """Name, version and options, of which there are none."""
        return {"name": self.name, "version": self.version, "options": {}}

    def sampler(self, seed: int) -> BaseSampler:
        """Returns a fresh random sampler."""
        return RandomSampler(seed=seed)
