"""The two axes of a search: a strategy proposes, an evaluator scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from optuna.samplers import BaseSampler

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.protocols import SearchSpace

Metrics = dict[str, float]
"""val_accuracy, latency_ms (this host), size_bytes, params, macs, ..."""


@dataclass(frozen=True, slots=True)
class Score:
    """What an evaluator found out about one candidate."""

    metrics: Metrics
    device_s: float
    stopped_early: bool = False
    failure: str = ""
    """Why there is no usable score: diverged, out of memory. Empty when all went well."""
    curve: list[float] = field(default_factory=list)
    """Validation accuracy at each evaluation point."""


class Strategy(Protocol):
    """Proposes candidates by being an Optuna sampler."""

    def sampler(self, seed: int) -> BaseSampler:
        """A sampler whose only state is the study's storage; it is made anew for every trial."""
        ...


@dataclass(frozen=True, slots=True)
class Derived:
    """What one search inside a trial found, and what it cost."""

    genotype: Genotype
    device_s: float
    """Its whole cost: of a search that was resumed, that of all its parts."""
    rows: tuple[dict[str, Any], ...]
    """One an epoch: losses, measures of the guards, alphas."""
    decisions: tuple[dict[str, Any], ...] = ()
    """epoch, guard, action and why, for everything a guard did."""


@runtime_checkable
class GradientSearch(Protocol):
    """A strategy that makes its candidates by searches of its own: DARTS and its kin. One trial is one such search."""

    seeds: int
    """How many searches; their genotypes are scored as other trials are."""

    def sampler(self, seed: int) -> BaseSampler:
        """As every strategy's."""
        ...

    def check(self, space: SearchSpace) -> None:
        """See that what is derived are members of `space`.

        Raises:
            ConfigError: They are not; the message names the options to change.
        """
        ...

    def derive(self, seed: int, folder: Path) -> Derived:
        """One search, or the rest of one that was cut off; its working state is in `folder`.

        Raises:
            SearchRefusal: No genotype keeps the bounds.
        """
        ...


class Evaluator(Protocol):
    """Scores a candidate. Must be picklable: workers are processes of their own."""

    def key(self) -> dict[str, object]:
        """What makes two scores comparable: settings, data digest. Part of the study's name."""
        ...

    def evaluate(self, genotype: Genotype, on_evaluation: Callable[[Metrics], bool]) -> Score:
        """Score `genotype`; `on_evaluation` gets the metrics so far at each evaluation point and may end it early."""
        ...
