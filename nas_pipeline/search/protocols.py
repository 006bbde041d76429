"""The sockets of a search: three kinds of strategy propose candidates, an evaluator scores them.

The protocols are structural: a plug-in has their attributes and methods, and inherits from nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from optuna.samplers import BaseSampler

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.protocols import SearchSpace

Metrics = dict[str, float]
"""Metric -> value: val_accuracy, latency_ms (of this host), size_bytes, params, macs, ..."""

ProgressCallback = Callable[[int, int | None, float | None, str], None]
"""Called as (trials done, trials in total, seconds left, line) whenever a trial ends."""


class FailureKind(StrEnum):
    """Why a trial has no usable score."""

    CUT_OFF = "cut_off"
    """The wall-clock budget ended while the trial was running. It does not count as failed."""
    DIVERGED = "diverged"
    """The loss was not a finite number."""
    ERROR = "error"
    """Building or scoring the candidate raised an exception, or the evaluator reported a failure."""


@dataclass(frozen=True, slots=True)
class Score:
    """The result of scoring one candidate."""

    metrics: Metrics
    device_s: float
    stopped_early: bool = False
    failure: str = ""
    """Why there is no usable score, for people. Empty when there is one."""
    curve: list[float] = field(default_factory=list)
    """Validation accuracy at each evaluation point."""
    failure_kind: FailureKind = FailureKind.ERROR
    """The kind of `failure`; without meaning when `failure` is empty."""


@dataclass(frozen=True, slots=True)
class PastTrial:
    """One completed trial, as a `Proposer` sees it."""

    number: int
    """Position in the search, counted from 0."""
    genotype: Genotype
    metrics: Mapping[str, float]
    losses: tuple[float, ...]
    """The values of the objective, each of them to be minimised."""
    violations: Mapping[str, float]
    """Metric -> relative excess over its bound, of violated bounds only."""


@runtime_checkable
class SamplerStrategy(Protocol):
    """A strategy that is an Optuna sampler.

    A fresh sampler is made for every decision of every trial, from a seed that is derived from the seed of the search,
    the number of the trial and the name of the decision. The storage of the study is the sampler's only state, so a
    resumed search proposes the same candidates as an undisturbed one.

    Samplers that count their calls in the storage (`QMCSampler`) do not meet this condition; the contract suite finds
    them. A strategy may set `learns = False` if its proposals do not improve with the number of trials; the suite then
    does not test that they do.

    >>> from optuna.samplers import BaseSampler, TPESampler
    >>> class UnivariateTpe:
    ...     version = 1
    ...
    ...     def key(self) -> dict[str, object]:
    ...         return {"name": "univariate_tpe", "version": self.version, "options": {}}
    ...
    ...     def sampler(self, seed: int) -> BaseSampler:
    ...         return TPESampler(seed=seed)
    >>> isinstance(UnivariateTpe(), SamplerStrategy)
    True
    """

    @property
    def version(self) -> int:
        """Raised whenever equal seeds and equal options propose other candidates than before."""
        ...

    def key(self) -> dict[str, object]:
        """Name, version and options, as plain data. Part of the study's name."""
        ...

    def sampler(self, seed: int) -> BaseSampler:
        """Returns a fresh sampler whose random numbers depend on `seed` only."""
        ...


@runtime_checkable
class Proposer(Protocol):
    """A strategy that proposes whole genotypes from the history of the search. It does not use Optuna.

    `propose` is a pure function: equal arguments give equal genotypes. The proposal of a trial is stored before it is
    scored, so a trial whose worker died is continued with the same genotype.

    >>> import random
    >>> from nas_pipeline.space.choosers import mutate, sample
    >>> class HillClimber:
    ...     version = 1
    ...
    ...     def key(self) -> dict[str, object]:
    ...         return {"name": "hill_climber", "version": self.version, "options": {}}
    ...
    ...     def propose(self, space, history, seed):
    ...         stream = random.Random(seed)
    ...         if not history:
    ...             return sample(space, stream)
    ...         return mutate(space, min(history, key=lambda trial: trial.losses).genotype, stream)
    >>> from nas_pipeline.space import SPACES
    >>> first = HillClimber().propose(SPACES.make("mbconv"), [], seed=0)
    >>> first == HillClimber().propose(SPACES.make("mbconv"), [], seed=0)
    True
    """

    @property
    def version(self) -> int:
        """Raised whenever equal seeds and equal options propose other candidates than before."""
        ...

    def key(self) -> dict[str, object]:
        """Name, version and options, as plain data. Part of the study's name."""
        ...

    def propose(self, space: SearchSpace, history: Sequence[PastTrial], seed: int) -> Genotype:
        """Returns the next candidate.

        Args:
            space: The space that the candidate has to be a member of.
            history: The trials that completed so far, in the order of their numbers.
            seed: Derived from the seed of the search and the number of the trial.
        """
        ...


@dataclass(frozen=True, slots=True)
class Derived:
    """The result of one gradient-based search, and its cost."""

    genotype: Genotype
    device_s: float
    """The whole cost; of a resumed search, that of all its parts."""
    rows: tuple[dict[str, Any], ...]
    """One per epoch: losses, measures of the guards, alphas."""
    decisions: tuple[dict[str, Any], ...] = ()
    """Epoch, guard, action and reason of everything that a guard did."""


@runtime_checkable
class GradientSearch(Protocol):
    """A strategy that finds a candidate by a search of its own, such as DARTS. One trial is one such search.

    >>> class Constant:
    ...     version, seeds = 1, 1
    ...
    ...     def key(self) -> dict[str, object]:
    ...         return {"name": "constant", "version": self.version, "options": {}}
    ...
    ...     def check(self, space: SearchSpace) -> None:
    ...         return None
    ...
    ...     def derive(self, seed: int, folder: Path) -> Derived:
    ...         return Derived(Genotype("cell", 1, ()), device_s=0.0, rows=())
    >>> isinstance(Constant(), GradientSearch)
    True
    """

    @property
    def version(self) -> int:
        """Raised whenever equal seeds and equal options derive other genotypes than before."""
        ...

    @property
    def seeds(self) -> int:
        """Number of searches. Their genotypes are scored as those of other trials are."""
        ...

    def key(self) -> dict[str, object]:
        """Name, version and options, as plain data. Part of the study's name."""
        ...

    def check(self, space: SearchSpace) -> None:
        """Checks that the derived genotypes are members of `space`.

        Raises:
            ConfigError: They are not; the message names the options to change.
        """
        ...

    def derive(self, seed: int, folder: Path) -> Derived:
        """Runs one search, or resumes one that was interrupted; its working state is in `folder`.

        Raises:
            SearchRefusal: No genotype meets the bounds.
        """
        ...


Strategy: TypeAlias = SamplerStrategy | Proposer | GradientSearch
"""Any of the three kinds. The worker decides by the kind how the decisions of a trial are made."""


@runtime_checkable
class Evaluator(Protocol):
    """Scores a candidate. It has to be picklable, because workers are separate processes.

    >>> class CountGenes:
    ...     version = 1
    ...
    ...     def key(self) -> dict[str, object]:
    ...         return {"name": "count_genes", "version": self.version, "options": {}}
    ...
    ...     def evaluate(self, genotype, on_evaluation):
    ...         return Score({"val_accuracy": 1 / len(genotype.genes)}, device_s=0.0)
    >>> genotype = Genotype("toy", 1, (("width", 16), ("depth", 2)))
    >>> CountGenes().evaluate(genotype, lambda metrics: True).metrics
    {'val_accuracy': 0.5}
    """

    @property
    def version(self) -> int:
        """Raised whenever equal candidates and equal settings get other scores than before."""
        ...

    def key(self) -> dict[str, object]:
        """Everything that a score depends on: name, version, settings, digest of the data. Part of the study's name."""
        ...

    def evaluate(self, genotype: Genotype, on_evaluation: Callable[[Metrics], bool]) -> Score:
        """Scores `genotype`.

        Args:
            genotype: A member of the space.
            on_evaluation: Called with the metrics so far at each evaluation point; False stops the evaluation early.
        """
        ...
