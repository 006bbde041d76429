"""Option lists of decisions, as a user may set them: never empty, and never a value that `replay` would refuse.

A decision is closed or open. Of a closed one only the listed values exist, so options narrow it. Of an open one other
values are legal too (any width, any row of OPS): options may go beyond the defaults, and a genotype can be replayed
whatever the options of the search that found it. A narrowed decision is asked even when one option is left, so that
its genotypes are members of the full space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from nas_pipeline.core.protocols import G
from nas_pipeline.errors import ConfigError
from nas_pipeline.space.domains import Whole


class Domain(Protocol):
    """The values that a gene may hold; its text says so in words. One more file for new kinds: legal.py."""

    def __contains__(self, value: object) -> bool:
        """Whether `value` is legal, its type included."""
        ...


class Open(tuple[G, ...]):
    """The options of an open decision: what is drawn from is the tuple, what may be replayed is `legal`."""

    domain: Domain

    def __new__(cls, offered: Sequence[G], domain: Domain) -> Open[G]:
        """`offered` are options, all of them legal."""
        options = super().__new__(cls, offered)
        options.domain = domain
        return options

    def __getnewargs__(self) -> tuple[tuple[G, ...], Domain]:
        """For pickling: workers are processes."""
        return tuple(self), self.domain


def accepted(value: object, options: Sequence[G]) -> list[G]:
    """`value` as the one element of a list if it is offered, or legal though not offered; else nothing.

    Types count: to Python 1 == True == 1.0, in the JSON behind an id they differ.
    """
    offered = [option for option in options if type(option) is type(value) and option == value]
    if offered or not isinstance(options, Open):
        return offered
    return [cast(G, value)] if value in options.domain else []


def listed(options: Sequence[G]) -> str:
    """The options in words, for messages."""
    offered = ", ".join(map(repr, options))
    return f"{offered}, and takes {options.domain}" if isinstance(options, Open) else offered


def choices(name: str, options: Sequence[G], among: Sequence[G] | None = None) -> tuple[G, ...]:
    """The options of the decision `name` as a tuple; a closed decision, whose values are `among`.

    Raises:
        ConfigError: None is left, one occurs twice or is not `among`, or a bare value was given in place of a list.
    """
    if isinstance(options, str) or not isinstance(options, Sequence):
        raise ConfigError(f"option {name!r} must be a list, got {options!r}; write [{options!r}]")
    if not options:
        raise ConfigError(f"option {name!r} leaves nothing to choose from; give at least one value")
    if len({(type(option), option) for option in options}) != len(options):
        raise ConfigError(f"option {name!r} lists a value twice: {list(options)!r}")
    wrong = [] if among is None else [option for option in options if not accepted(option, among)]
    if wrong:
        raise ConfigError(f"option {name!r} holds {wrong}; give some of {listed(among or ())}")
    return tuple(options)


def opened(name: str, options: Sequence[G], domain: Domain) -> Open[G]:
    """The options of the open decision `name`.

    Raises:
        ConfigError: One is not legal, or as `choices`.
    """
    retained = choices(name, options)
    wrong = [option for option in retained if option not in domain]
    if wrong:
        raise ConfigError(f"option {name!r} holds {wrong}; give {domain}")
    return Open(retained, domain)


def counts(name: str, options: Sequence[int], limit: int) -> Open[int]:
    """`options` of an open decision, each a whole number from 1 to `limit`.

    Raises:
        ConfigError: One is not, or as `choices`.
    """
    return opened(name, options, Whole(1, limit))


def at_most(name: str, options: Open[int], limit: int) -> Open[int]:
    """Those of `options` that do not exceed `limit`; the others stay legal.

    Raises:
        ConfigError: None is left; the message names the smallest.
    """
    retained = tuple(option for option in options if option <= limit)
    if not retained:
        raise ConfigError(f"{name} = {limit} leaves no width of {list(options)}; it must be at least {min(options)}")
    return Open(retained, options.domain)
