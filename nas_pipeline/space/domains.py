"""Domains of open decisions: all legal values, including those that are not offered, with a description for messages.

Also the names of the operations on the edges of cells: rows of OPS, listed here because decisions need no torch.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

PRIMITIVES = (
    "none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5", "avg_pool_3x3",
    "max_pool_3x3",
)
"""Operations that DARTS mixes on every edge. Source: Liu et al., arXiv:1806.09055, section 3.1."""

BENCHMARK_PRIMITIVES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""Operations of NAS-Bench-201. Source: Dong and Yang, arXiv:2001.00326, section 2.1."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int
    odd: bool = False

    def __contains__(self, value: object) -> bool:
        """Return whether `value` is such a number; booleans are not."""
        return type(value) is int and self.low <= value <= self.high and (value % 2 == 1 or not self.odd)

    def __str__(self) -> str:
        """Return the description for messages."""
        return f"{'odd' if self.odd else 'whole'} numbers from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class UnitInterval:
    """Floats from 0 to below 1."""

    def __contains__(self, value: object) -> bool:
        """Return whether `value` is such a float; integers are not, because their genotype ids differ."""
        return type(value) is float and 0 <= value < 1

    def __str__(self) -> str:
        """Return the description for messages."""
        return "numbers from 0.0 to below 1.0"


@dataclass(frozen=True, slots=True)
class Operation:
    """Names of rows of OPS. The table and torch are imported only for names that are not in `known`."""

    known: tuple[str, ...] = ()

    def __contains__(self, value: object) -> bool:
        """Return whether the table has such a row."""
        if value in self.known:
            return True
        from nas_pipeline.space.ops import OPS

        return value in OPS

    def __str__(self) -> str:
        """Return the description for messages."""
        return "any operation in `nas catalog`"


@dataclass(frozen=True, slots=True)
class NumberList:
    """Ascending whole numbers from `low` to `high` joined by dashes, as "2-3-5"; `count` of them, None: any count."""

    low: int
    high: int
    count: int | None = None

    def __contains__(self, value: object) -> bool:
        """Return whether `value` is in canonical form: no spaces and no leading zeros."""
        if not isinstance(value, str):
            return False
        parts = value.split("-")
        if not all(part.isascii() and part.isdigit() and len(part) < 4 and part == str(int(part)) for part in parts):
            return False
        numbers = [int(part) for part in parts]
        ascending = all(a < b for a, b in itertools.pairwise(numbers))
        return ascending and self.low <= numbers[0] and numbers[-1] <= self.high and self.count in (None, len(numbers))

    def __str__(self) -> str:
        """Return the description for messages."""
        return f"ascending numbers from {self.low} to {self.high} as \"{self.low}-{self.high}\""


WIDTH = Whole(1, 4096)
"""Channels of a layer."""

KERNEL = Whole(1, 31, odd=True)
"""Side of a convolution's kernel, in pixels."""

OPERATION = Operation(("inverted_residual", *PRIMITIVES, *BENCHMARK_PRIMITIVES))
"""Any row of OPS; the listed names are defaults of spaces, and a contract test checks that the table has them."""

UNIT_INTERVAL = UnitInterval()
