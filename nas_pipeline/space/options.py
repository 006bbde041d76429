"""Option lists of decisions, as a user sets them: never empty, and only values that `replay` accepts.

A decision is closed or open. A closed decision has the listed values only, and options narrow it. An open decision has
a domain of legal values (any width, any row of OPS): options may go beyond the defaults, and a genotype can be replayed
independently of the options of the search that produced it. A decision with a single option remains a decision, so
that its genotypes are members of the full space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from nas_pipeline.core.protocols import G
from nas_pipeline.errors import ConfigError
from nas_pipeline.space.domains import Whole


class Domain(Protocol):
    """The set of values that a gene may hold; `str` describes it in messages. The domains are in domains.py."""

    def __contains__(self, value: object) -> bool:
        """Return whether `value`, with its type, is in the domain."""
        ...


class Open(tuple[G, ...]):
    """The options of an open decision: values are drawn from the tuple, and replayed if they are in `domain`."""

    domain: Domain

    def __new__(cls, offered: Sequence[G], domain: Domain) -> Open[G]:
        """`offered` are the options; all of them are in `domain`."""
        options = super().__new__(cls, offered)
        options.domain = domain
        return options

    def __getnewargs__(self) -> tuple[tuple[G, ...], Domain]:
        """Return the arguments for unpickling, as workers are processes."""
        return tuple(self), self.domain


def accepted(value: object, options: Sequence[G]) -> list[G]:
    """Return `[value]` if it is among the options or in their domain, else an empty list.

    Types matter: 1 == True == 1.0 in Python, but they differ in the JSON from which a genotype id is computed.
    """
    offered = [option for option in options if type(option) is type(value) and option == value]
    if offered or not isinstance(options, Open):
        return offered
    return [cast(G, value)] if value in options.domain else []


def listed(options: Sequence[G]) -> str:
    """Describe the options for messages."""
    offered = ", ".join(map(repr, options))
    return f"{offered}, and takes {options.domain}" if isinstance(options, Open) else offered


def choices(name: str, options: Sequence[G], among: Sequence[G] | None = None) -> tuple[G, ...]:
    """Check the options of the closed decision `name`, whose values are `among`, and return them as a tuple.

    Raises:
        ConfigError: The list is empty, has a value twice or a value that is not `among`, or is not a list.
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
    """Check the options of the open decision `name` and return them with their domain.

    Raises:
        ConfigError: A value is not in `domain`, or as `choices`.
    """
    retained = choices(name, options)
    wrong = [option for option in retained if option not in domain]
    if wrong:
        raise ConfigError(f"option {name!r} holds {wrong}; give {domain}")
    return Open(retained, domain)


def counts(name: str, options: Sequence[int], limit: int) -> Open[int]:
    """Check the options of an open decision whose values are whole numbers from 1 to `limit`, and return them.

    Raises:
        ConfigError: A value is not such a number, or as `choices`.
    """
    return opened(name, options, Whole(1, limit))


def at_most(name: str, options: Open[int], limit: int) -> Open[int]:
    """Return those of `options` that do not exceed `limit`; the domain stays the same.

    Raises:
        ConfigError: No option is left; the message names the smallest.
    """
    retained = tuple(option for option in options if option <= limit)
    if not retained:
        raise ConfigError(f"{name} = {limit} leaves no width of {list(options)}; it must be at least {min(options)}")
    return Open(retained, options.domain)
