"""All members of a space, one by one: the independent count that `size` is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.protocols import G, SearchSpace
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.choosers import DecisionRecorder


class _Odometer:
    """Counts through the options of all decisions, the last decision fastest."""

    def __init__(self) -> None:
        self._digits: list[int] = []
        self._bases: list[int] = []
        self._position = 0

    def one_of(self, name: str, options: Sequence[G]) -> G:
        if self._position == len(self._digits):
            self._digits.append(0)
            self._bases.append(len(options))
        self._position += 1
        return options[self._digits[self._position - 1]]

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        raise SpaceError(f"decision {name!r} is a real number; a space with one cannot be enumerated")

    def advance(self) -> bool:
        """Move on to the next combination; False after the last."""
        self._position = 0
        while self._digits and self._digits[-1] + 1 == self._bases[-1]:
            self._digits.pop()
            self._bases.pop()
        if self._digits:
            self._digits[-1] += 1
        return bool(self._digits)


def enumerate_all(space: SearchSpace) -> Iterator[Genotype]:
    """Yield every member once, in the order of an odometer. Check `size` first.

    Raises:
        SpaceError: A decision is a real number.
    """
    odometer = _Odometer()
    while True:
        recorder = DecisionRecorder(odometer)
        space.decide(recorder)
        yield recorder.genotype(space)
        if not odometer.advance():
            return
