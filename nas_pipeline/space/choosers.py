"""Choosers, which make the decisions of a space: random draw, replay, mutation, crossover.

A space is written once, as a function `decide(choose)` that calls `choose.one_of(name, options)` or
`choose.real(name, low, high)` for every decision and returns a plan. A chooser is the object that makes these choices.
`DecisionRecorder` wraps a chooser and records the decisions in order: they are the genes of a genotype.
`sample`, `replay`, `mutate` and `crossover` apply the choosers of this module to a space. Random streams are arguments,
never global.

Example:
    >>> import random
    >>> from nas_pipeline.space.residual import ResidualSpace
    >>> space = ResidualSpace(stages=[2])
    >>> genotype = sample(space, random.Random(0))
    >>> replay(space, genotype).stem_width == genotype.as_dict()["stem.width"]
    True
    >>> child = mutate(space, genotype, random.Random(1))
    >>> child.id == genotype.id
    False

    A chooser of your own has the same two methods; this one makes the first choice everywhere:

    >>> class FirstChooser:
    ...     def one_of(self, name, options):
    ...         return options[0]
    ...     def real(self, name, low, high, log=False):
    ...         return low
    >>> recorder = DecisionRecorder(FirstChooser())
    >>> plan = space.decide(recorder)
    >>> recorder.genotype(space).genes[:2]
    (('stem.width', 16), ('stem.stride', 1))
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas_pipeline.core.genotype import Gene, Genotype
from nas_pipeline.core.protocols import Chooser, G, SearchSpace
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.options import accepted, listed


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """One decision with its options and the choice. `options` is None for a real number."""

    name: str
    options: tuple[Gene, ...] | None
    choice: Gene


class DecisionRecorder:
    """Delegates every decision to another chooser and records it."""

    def __init__(self, chooser: Chooser) -> None:
        """`chooser` makes the choices."""
        self._chooser = chooser
        self.decisions: list[RecordedDecision] = []

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """Return the choice of the wrapped chooser.

        Raises:
            SpaceError: The space has a second decision called `name`.
        """
        choice = self._chooser.one_of(name, options)
        self._record(RecordedDecision(name, tuple(options), choice))
        return choice

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """Return the choice of the wrapped chooser; raises as `one_of`."""
        choice = self._chooser.real(name, low, high, log)
        self._record(RecordedDecision(name, None, choice))
        return choice

    @property
    def genes(self) -> tuple[tuple[str, Gene], ...]:
        """Name and choice of every recorded decision, in order."""
        return tuple((decision.name, decision.choice) for decision in self.decisions)

    def genotype(self, space: SearchSpace) -> Genotype:
        """Return the genotype of the recorded decisions."""
        return Genotype(space.name, space.version, self.genes)

    def _record(self, decision: RecordedDecision) -> None:
        if any(earlier.name == decision.name for earlier in self.decisions):
            raise SpaceError(f"the space has two decisions called {decision.name!r}; decision names must be unique")
        self.decisions.append(decision)


class RandomChooser:
    """Draws every option with equal probability; real numbers uniformly, or uniformly in the logarithm."""

    def __init__(self, rng: random.Random) -> None:
        """`rng` is the random stream of the caller."""
        self._rng = rng

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """Return one of `options`."""
        return options[self._rng.randrange(len(options))]

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """Return a number in [low, high]."""
        if log:
            return min(high, max(low, math.exp(self._rng.uniform(math.log(low), math.log(high)))))
        return self._rng.uniform(low, high)


class ReplayChooser:
    """Chooses the values in a genotype."""

    def __init__(self, genotype: Genotype) -> None:
        """Read the genes of `genotype`.

        Raises:
            SpaceError: A gene occurs twice.
        """
        self._space = genotype.space
        self._genes = genotype.as_dict()
        self._decided: set[str] = set()
        if len(self._genes) != len(genotype.genes):
            names = [name for name, _ in genotype.genes]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise SpaceError(f"genotype of space {self._space!r} holds {', '.join(twice)} twice; keep one of each")

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """Return the value of the gene `name`: one of `options`, or of the domain of an open decision.

        Raises:
            SpaceError: There is no such gene, or its value is neither among `options` nor in their domain.
        """
        self._decided.add(name)
        if name not in self._genes:
            raise SpaceError(f"gene {name!r} is missing; space {self._space!r} offers {listed(options)}")
        matches = accepted(self._genes[name], options)
        if not matches:
            raise SpaceError(
                f"gene {name!r} holds {self._genes[name]!r}, which space {self._space!r} does not take; "
                f"it offers {listed(options)}"
            )
        return matches[0]

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """Return the number in the gene `name`.

        Raises:
            SpaceError: There is no such gene, or it is not a number in [low, high].
        """
        self._decided.add(name)
        if name not in self._genes:
            raise SpaceError(f"gene {name!r} is missing; space {self._space!r} takes a number in [{low}, {high}]")
        value = self._genes[name]
        if not _is_number(value, low, high):
            raise SpaceError(f"gene {name!r} holds {value!r}; space {self._space!r} takes a number in [{low}, {high}]")
        return float(value)

    def finish(self) -> None:
        """Check that every gene was used. Call it after the last decision.

        Raises:
            SpaceError: The space has no decision for some genes.
        """
        left = [f"{name} = {value!r}" for name, value in self._genes.items() if name not in self._decided]
        if left:
            decided = ", ".join(sorted(self._decided))
            raise SpaceError(f"space {self._space!r} has no decision for {', '.join(left)}; it decides {decided}")


class MutateChooser:
    """Replays a genotype except for one gene, which takes another value. Decisions that are new with it are drawn."""

    def __init__(self, genotype: Genotype, gene: str, rng: random.Random) -> None:
        """`gene` is the decision to change."""
        self._genes = genotype.as_dict()
        self._gene = gene
        self._draw = RandomChooser(rng)

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """Return the old value, another one for the mutated gene, or a drawn one for a new decision."""
        old = accepted(self._genes[name], options) if name in self._genes else []
        if name != self._gene:
            return old[0] if old else self._draw.one_of(name, options)
        alternatives = [option for option in options if not old or not _same(option, old[0])]
        return self._draw.one_of(name, alternatives or options)

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """Return a number as `one_of` returns a value."""
        value = self._genes.get(name)
        if name != self._gene and value is not None and _is_number(value, low, high):
            return float(value)
        return self._draw.real(name, low, high, log)


class CrossoverChooser:
    """Takes each choice from one of two parents at random (uniform crossover); draws if no parent has the decision."""

    def __init__(self, a: Genotype, b: Genotype, rng: random.Random) -> None:
        """`a` and `b` are the parents."""
        self._parents = (a.as_dict(), b.as_dict())
        self._rng = rng
        self._draw = RandomChooser(rng)

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """Return the choice of a parent if it is among `options` or in their domain, else a drawn one."""
        inherited = [matches for genes in self._parents if name in genes for matches in accepted(genes[name], options)]
        return self._rng.choice(inherited) if inherited else self._draw.one_of(name, options)

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """Return the number of a parent if it is in [low, high], else a drawn one."""
        inherited = [float(genes[name]) for genes in self._parents if _is_number(genes.get(name), low, high)]
        return self._rng.choice(inherited) if inherited else self._draw.real(name, low, high, log)


def sample(space: SearchSpace, rng: random.Random) -> Genotype:
    """Draw a random member: uniform over the options of each decision, not over the members."""
    recorder = DecisionRecorder(RandomChooser(rng))
    space.decide(recorder)
    return recorder.genotype(space)


def replay(space: SearchSpace, genotype: Genotype) -> Any:
    """Return the plan of `genotype`.

    Raises:
        SpaceError: The space or version differs, or a gene is missing, unused or not legal.
    """
    return _replay(space, genotype)[0]


def mutate(space: SearchSpace, genotype: Genotype, rng: random.Random) -> Genotype:
    """Return a neighbour: one decision changes, dependent decisions are drawn or dropped, all others stay.

    Raises:
        SpaceError: `genotype` is not a member of `space`, or no decision has a second option.
    """
    _, decisions = _replay(space, genotype)
    free = [decision.name for decision in decisions if decision.options is None or len(decision.options) > 1]
    if not free:
        raise SpaceError(f"no decision of space {space.name!r} has a second option; widen the options of the space")
    recorder = DecisionRecorder(MutateChooser(genotype, rng.choice(free), rng))
    space.decide(recorder)
    return recorder.genotype(space)


def crossover(space: SearchSpace, a: Genotype, b: Genotype, rng: random.Random) -> Genotype:
    """Return a child of two members by uniform crossover.

    Raises:
        SpaceError: A parent is not a member of `space`.
    """
    for parent in (a, b):
        replay(space, parent)
    recorder = DecisionRecorder(CrossoverChooser(a, b, rng))
    space.decide(recorder)
    return recorder.genotype(space)


def _replay(space: SearchSpace, genotype: Genotype) -> tuple[Any, list[RecordedDecision]]:
    if (genotype.space, genotype.version) != (space.name, space.version):
        raise SpaceError(
            f"genotype {genotype.id} is of space {genotype.space!r} version {genotype.version}, "
            f"not of {space.name!r} version {space.version}; use the space and release that made it"
        )
    chooser = ReplayChooser(genotype)
    recorder = DecisionRecorder(chooser)
    plan = space.decide(recorder)
    chooser.finish()
    return plan, recorder.decisions


def _same(a: Gene, b: Gene) -> bool:
    """Equality of value and type: 1 == True == 1.0 in Python, but they differ in the JSON behind a genotype id."""
    return type(a) is type(b) and a == b


def _is_number(value: Gene | None, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
