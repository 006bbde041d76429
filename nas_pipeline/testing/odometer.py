"""All members of a space, one by one: the independent count with which `size` is compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nas_pipeline.core.genotype import Gene, Genotype
from nas_pipeline.core.protocols import G, SearchSpace
from nas_pipeline.errors import SpaceError


class _Odometer:
    """Counts through the options of all decisions, the last decision fastest."""

    def __init__(self) -> None:
        self._digits: list[int] = []
        self._bases: list[int] = []
        self.genes: list[tuple[str, Gene]] = []

    def one_of(self, name: str, options: Sequence[G]) -> G:
        position = len(self.genes)
        if position == len(self._digits):
            self._digits.append(0)
            self._bases.append(len(options))
        choice = options[self._digits[position]]
        self.genes.append((name, choice))
        return choice

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        raise SpaceError(f"decision {name!r} is a real number; a space with one cannot be enumerated")

    def advance(self) -> bool:
        """Moves on to the next combination; returns False after the last one."""
        self.genes = []
        while self._digits and self._digits[-1] + 1 == self._bases[-1]:
            self._digits.pop()
            self._bases.pop()
        if self._digits:
            self._digits[-1] += 1
        return bool(self._digits)


def enumerate_all(space: SearchSpace) -> Iterator[Genotype]:
    """Yields every member once, in the order of an odometer. Check `size` first.

    Raises:
        SpaceError: A decision is a real number.
    """
    odometer = _Odometer()
    while True:
        space.decide(odometer)
        yield Genotype(space.name, space.version, tuple(odometer.genes))
        if not odometer.advance():
            return
