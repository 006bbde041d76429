"""Option lists of decisions, as a user may narrow them: never empty, and plain tuples whatever YAML gave.

A narrowed decision is asked even when one option is left, so that its genotypes are members of the full space.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas_pipeline.core.protocols import G
from nas_pipeline.errors import ConfigError


def choices(name: str, options: Sequence[G]) -> tuple[G, ...]:
    """The options of the decision `name` as a tuple.

    Raises:
        ConfigError: None is left, one occurs twice, or a bare value was given in place of a list.
    """
    if isinstance(options, str) or not isinstance(options, Sequence):
        raise ConfigError(f"option {name!r} must be a list, got {options!r}; write [{options!r}]")
    if not options:
        raise ConfigError(f"option {name!r} leaves nothing to choose from; give at least one value")
    if len({(type(option), option) for option in options}) != len(options):
        raise ConfigError(f"option {name!r} lists a value twice: {list(options)!r}")
    return tuple(options)


def counts(name: str, options: Sequence[int], limit: int) -> tuple[int, ...]:
    """`options` as a tuple, each a whole number from 1 to `limit`.

    Raises:
        ConfigError: One is not, or as `choices`.
    """
    kept = choices(name, options)
    wrong = [option for option in kept if not 1 <= option <= limit]
    if wrong:
        raise ConfigError(f"option {name!r} holds {wrong}; give whole numbers from 1 to {limit}")
    return kept


def at_most(name: str, options: Sequence[int], limit: int) -> tuple[int, ...]:
    """Those of `options` that do not exceed `limit`.

    Raises:
        ConfigError: None is left; the message names the smallest.
    """
    kept = tuple(option for option in options if option <= limit)
    if not kept:
        raise ConfigError(f"{name} = {limit} leaves no width of {list(options)}; it must be at least {min(options)}")
    return kept
