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
    """Given values for some decisions, the first option for all others."""

    def __init__(self, values: Mapping[str, Gene]) -> None:
        self._values = values

    def one_of(self, name: str, options: Sequence[G]) -> G:
        return options[options.index(self._values[name]) if name in self._values else 0]

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        raise SpaceError(f"decision {name!r} is a real number; a space with one has no finite size")


def size(space: SearchSpace) -> int:
    """The exact number of members.

    Assumes that the decisions form a tree: a decision is always asked, or it is asked under certain options of
    one other decision (which may itself hang on a third), and its options are the same wherever it is asked.
    Then choices multiply over decisions that do not depend on each other and add up over the options of one
    that others depend on. Which ones do is traced: one decision is varied while the rest stand still. A hundred
    random members are checked against the tree that was found.

    Raises:
        SpaceError: A decision is a real number, or the random members contradict the assumption.
    """
    tree = _Tree(space)
    total = tree.count({}, tree.roots())
    tree.check(random.Random(f"{space.name}/size"))
    return total


class _Tree:
    """The decisions of a space, and which of them are asked under which option of which other."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._options: dict[str, tuple[Gene, ...]] = {}
        self._asked_under: dict[str, set[tuple[str, Gene] | None]] = {}

    def count(self, fixed: Mapping[str, Gene], scope: Collection[str], under: tuple[str, Gene] | None = None) -> int:
        """The number of ways to answer the decisions of `scope`, and those that hang on them.

        `fixed` holds the answers above them, the last of which, `under`, is the one that opened `scope`.
        """
        options = self._trace(fixed)
        seen = {
            name: {option: self._trace({**fixed, name: option}) for option in options[name]} for name in scope
        }
        hanging = {
            name: set().union(*traces.values()) - set(traces[options[name][0]]).intersection(*traces.values())
            for name, traces in seen.items()
        }
        total = 1
        for name in scope:
            if any(name in hanging[parent] for parent in scope):
                continue  # counted below the decision that it hangs on
            self._options[name] = options[name]
            self._asked_under.setdefault(name, set()).add(under)
            total *= sum(
                self.count({**fixed, name: option}, hanging[name] & trace.keys(), (name, option))
                for option, trace in seen[name].items()
            )
        return total

    def roots(self) -> Collection[str]:
        """The decisions asked when every answer is the first option."""
        return self._trace({})

    def check(self, rng: random.Random) -> None:
        """Hold random members against the tree.

        Raises:
            SpaceError: One of them asks for what the tree does not foresee, or does not ask for what it does.
        """
        for _ in range(_CHECKED_DRAWS):
            recorder = DecisionRecorder(RandomChooser(rng))
            self._space.decide(recorder)
            opened: set[tuple[str, Gene] | None] = {(decision.name, decision.choice) for decision in recorder.decisions}
            opened.add(None)
            foreseen = {name: self._options[name] for name, under in self._asked_under.items() if under & opened}
            recorded = {decision.name: decision.options for decision in recorder.decisions}
            wrong = sorted(name for name in foreseen | recorded if foreseen.get(name) != recorded.get(name))
            if wrong:
                raise SpaceError(
                    f"the decisions of space {self._space.name!r} do not form a tree, so its size cannot be counted: "
                    f"{', '.join(wrong)} must hang on at most one decision and always have the same options"
                )

    def _trace(self, fixed: Mapping[str, Gene]) -> dict[str, tuple[Gene, ...]]:
        recorder = DecisionRecorder(_Fixed(fixed))
        self._space.decide(recorder)
        return {decision.name: decision.options or () for decision in recorder.decisions}
