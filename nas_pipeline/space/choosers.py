"""Ways to answer the decisions of a space: draw, replay, mutate, cross over; and the four verbs made of them.

A genotype is whatever a `DecisionRecorder` heard. Streams of random numbers are handed in, never global.
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
    """One decision as it was asked and answered. `options` is None for a real number."""

    name: str
    options: tuple[Gene, ...] | None
    choice: Gene


class DecisionRecorder:
    """Passes every decision on to another chooser and remembers it."""

    def __init__(self, chooser: Chooser) -> None:
        """`chooser` gives the answers."""
        self._chooser = chooser
        self.decisions: list[RecordedDecision] = []

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """The answer of the wrapped chooser.

        Raises:
            SpaceError: The space asks for `name` a second time.
        """
        choice = self._chooser.one_of(name, options)
        self._remember(RecordedDecision(name, tuple(options), choice))
        return choice

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """The answer of the wrapped chooser; raises as `one_of`."""
        choice = self._chooser.real(name, low, high, log)
        self._remember(RecordedDecision(name, None, choice))
        return choice

    @property
    def genes(self) -> tuple[tuple[str, Gene], ...]:
        """Name and choice of every decision heard, in order."""
        return tuple((decision.name, decision.choice) for decision in self.decisions)

    def genotype(self, space: SearchSpace) -> Genotype:
        """The genotype of what was heard."""
        return Genotype(space.name, space.version, self.genes)

    def _remember(self, decision: RecordedDecision) -> None:
        if any(earlier.name == decision.name for earlier in self.decisions):
            raise SpaceError(f"the space asks for {decision.name!r} twice; every decision needs a name of its own")
        self.decisions.append(decision)


class RandomChooser:
    """Every option with equal probability; reals uniform, or uniform in the logarithm."""

    def __init__(self, rng: random.Random) -> None:
        """`rng` is the caller's stream."""
        self._rng = rng

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """One of `options`."""
        return options[self._rng.randrange(len(options))]

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """A number in [low, high]."""
        if log:
            return min(high, max(low, math.exp(self._rng.uniform(math.log(low), math.log(high)))))
        return self._rng.uniform(low, high)


class ReplayChooser:
    """Answers with the genes of a genotype, and with nothing else."""

    def __init__(self, genotype: Genotype) -> None:
        """Read the genes.

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
        """The option that the gene `name` names; where the decision is open, it may be a legal one not offered.

        Raises:
            SpaceError: There is no such gene, or its value is neither among `options` nor legal.
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
        """The number in the gene `name`.

        Raises:
            SpaceError: There is no such gene, or it is no number in [low, high].
        """
        self._decided.add(name)
        if name not in self._genes:
            raise SpaceError(f"gene {name!r} is missing; space {self._space!r} takes a number in [{low}, {high}]")
        value = self._genes[name]
        if not _is_number(value, low, high):
            raise SpaceError(f"gene {name!r} holds {value!r}; space {self._space!r} takes a number in [{low}, {high}]")
        return float(value)

    def finish(self) -> None:
        """Call when the space has asked everything.

        Raises:
            SpaceError: Genes are left over that the space never asked for.
        """
        left = [f"{name} = {value!r}" for name, value in self._genes.items() if name not in self._decided]
        if left:
            decided = ", ".join(sorted(self._decided))
            raise SpaceError(f"space {self._space!r} has no decision for {', '.join(left)}; it decides {decided}")


class MutateChooser:
    """Replays a genotype but for one gene, which takes another value. Decisions that this opens are drawn."""

    def __init__(self, genotype: Genotype, gene: str, rng: random.Random) -> None:
        """`gene` is the decision to change."""
        self._genes = genotype.as_dict()
        self._gene = gene
        self._draw = RandomChooser(rng)

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """The old choice where it stands, another one for the mutated gene, a drawn one for a new decision."""
        old = accepted(self._genes[name], options) if name in self._genes else []
        if name != self._gene:
            return old[0] if old else self._draw.one_of(name, options)
        alternatives = [option for option in options if not old or not _same(option, old[0])]
        return self._draw.one_of(name, alternatives or options)

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """As `one_of`."""
        value = self._genes.get(name)
        if name != self._gene and value is not None and _is_number(value, low, high):
            return float(value)
        return self._draw.real(name, low, high, log)


class CrossoverChooser:
    """Takes each decision from one of two parents at random (uniform crossover); draws what neither has."""

    def __init__(self, a: Genotype, b: Genotype, rng: random.Random) -> None:
        """`a` and `b` are the parents."""
        self._parents = (a.as_dict(), b.as_dict())
        self._rng = rng
        self._draw = RandomChooser(rng)

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """A parent's choice if one is offered, or legal."""
        inherited = [matches for genes in self._parents if name in genes for matches in accepted(genes[name], options)]
        return self._rng.choice(inherited) if inherited else self._draw.one_of(name, options)

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """A parent's number if one lies in [low, high]."""
        inherited = [float(genes[name]) for genes in self._parents if _is_number(genes.get(name), low, high)]
        return self._rng.choice(inherited) if inherited else self._draw.real(name, low, high, log)


def sample(space: SearchSpace, rng: random.Random) -> Genotype:
    """A random member: uniform over the options of each decision (not over the members)."""
    recorder = DecisionRecorder(RandomChooser(rng))
    space.decide(recorder)
    return recorder.genotype(space)


def replay(space: SearchSpace, genotype: Genotype) -> Any:
    """The plan of `genotype`.

    Raises:
        SpaceError: Another space or version, or a gene that is missing, left over or not legal.
    """
    return _replay(space, genotype)[0]


def mutate(space: SearchSpace, genotype: Genotype, rng: random.Random) -> Genotype:
    """A neighbour: one decision changed, those that hang on it redrawn or dropped, all others kept.

    Raises:
        SpaceError: `genotype` is not of `space`, or no decision has a second option.
    """
    _, decisions = _replay(space, genotype)
    free = [decision.name for decision in decisions if decision.options is None or len(decision.options) > 1]
    if not free:
        raise SpaceError(f"no decision of space {space.name!r} has a second option; widen the options of the space")
    recorder = DecisionRecorder(MutateChooser(genotype, rng.choice(free), rng))
    space.decide(recorder)
    return recorder.genotype(space)


def crossover(space: SearchSpace, a: Genotype, b: Genotype, rng: random.Random) -> Genotype:
    """A child of two members.

    Raises:
        SpaceError: A parent is not of `space`.
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
    """Equal in type too: to Python 1 == True == 1.0, in the JSON behind an id they differ."""
    return type(a) is type(b) and a == b


def _is_number(value: Gene | None, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
