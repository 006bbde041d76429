"""The exact number of members of a space, counted without listing them."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from nas_pipeline.core.genotype import Gene
from nas_pipeline.core.protocols import G, SearchSpace
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.choosers import DecisionRecorder, RandomChooser

_CHECKED_DRAWS = 100


class _Fixed:
    """Chooses fixed values for some decisions and the first option for all others."""

    def __init__(self, values: Mapping[str, Gene]) -> None:
        self._values = values

    def one_of(self, name: str, options: Sequence[G]) -> G:
        return options[options.index(self._values[name]) if name in self._values else 0]

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        raise SpaceError(f"decision {name!r} is a real number; a space with one has no finite size")


def size(space: SearchSpace) -> int:
    """Return the exact number of members of `space`.

    The decisions must form a tree: a decision exists always, or only under certain options of one parent decision
    (which may have a parent itself), and its options are always the same. The number of choices then multiplies over
    independent decisions and adds up over the options of a parent. Dependencies are detected by varying one decision
    at a time. The tree is checked with a hundred random members.

    Raises:
        SpaceError: A decision is a real number, or the random members contradict the assumption.
    """
    tree = _Tree(space)
    total = tree.count({}, tree.roots())
    tree.check(random.Random(f"{space.name}/size"))
    return total


class _Tree:
    """The decisions of a space, and the options of other decisions under which they exist."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._options: dict[str, tuple[Gene, ...]] = {}
        self._parents: dict[str, set[tuple[str, Gene] | None]] = {}

    def count(self, fixed: Mapping[str, Gene], scope: Collection[str], under: tuple[str, Gene] | None = None) -> int:
        """Return the number of combinations of the decisions in `scope` and those that depend on them.

        `fixed` holds the choices of all ancestors; `under` is the last of them, the parent of `scope`.
        """
        options = self._trace(fixed)
        seen = {
            name: {option: self._trace({**fixed, name: option}) for option in options[name]} for name in scope
        }
        dependent = {
            name: set().union(*traces.values()) - set(traces[options[name][0]]).intersection(*traces.values())
            for name, traces in seen.items()
        }
        total = 1
        for name in scope:
            if any(name in dependent[parent] for parent in scope):
                continue  # counted with its parent decision
            self._options[name] = options[name]
            self._parents.setdefault(name, set()).add(under)
            total *= sum(
                self.count({**fixed, name: option}, dependent[name] & trace.keys(), (name, option))
                for option, trace in seen[name].items()
            )
        return total

    def roots(self) -> Collection[str]:
        """Return the decisions that exist when every choice is the first option."""
        return self._trace({})

    def check(self, rng: random.Random) -> None:
        """Check random members against the tree.

        Raises:
            SpaceError: The decisions of a member differ from those that the tree predicts.
        """
        for _ in range(_CHECKED_DRAWS):
            recorder = DecisionRecorder(RandomChooser(rng))
            self._space.decide(recorder)
            active: set[tuple[str, Gene] | None] = {(decision.name, decision.choice) for decision in recorder.decisions}
            active.add(None)
            predicted = {name: self._options[name] for name, under in self._parents.items() if under & active}
            recorded = {decision.name: decision.options for decision in recorder.decisions}
            wrong = sorted(name for name in predicted | recorded if predicted.get(name) != recorded.get(name))
            if wrong:
                raise SpaceError(
                    f"the decisions of space {self._space.name!r} do not form a tree, so its size cannot be counted: "
                    f"{', '.join(wrong)} must depend on at most one decision and always have the same options"
                )

    def _trace(self, fixed: Mapping[str, Gene]) -> dict[str, tuple[Gene, ...]]:
        recorder = DecisionRecorder(_Fixed(fixed))
        self._space.decide(recorder)
        return {decision.name: decision.options or () for decision in recorder.decisions}
