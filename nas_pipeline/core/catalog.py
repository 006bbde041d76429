"""Catalogues of plug-ins: name -> factory. A catalogue creates plug-ins from names and options in params.yaml."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from nas_pipeline.errors import ConfigError

T = TypeVar("T")


class Catalog(Mapping[str, Callable[..., T]], Generic[T]):
    """The plug-ins of one kind, by name.

    A row maps a name to a factory: a class, or a function that returns an instance. The parameters of the factory are
    the options of the plug-in, and its defaults are the defaults of the options. Installed packages add rows through
    entry points.

    Example:
        >>> class Constant:
        ...     def __init__(self, value: float = 0.0) -> None:
        ...         self.value = value
        >>> schedules: Catalog[Constant] = Catalog("schedule", {"constant": Constant})
        >>> schedules.make("constant", {"value": 0.5}).value
        0.5
        >>> schedules.make("constnat")
        Traceback (most recent call last):
            ...
        nas_pipeline.errors.ConfigError: unknown schedule 'constnat' (did you mean 'constant'?)
    """

    def __init__(self, kind: str, rows: Mapping[str, Callable[..., T]], entry_points: str | None = None) -> None:
        """Creates a catalogue.

        Args:
            kind: The kind of plug-in, for messages: strategy, space, source, ...
            rows: Name -> factory.
            entry_points: Entry-point group of rows from installed packages. The group is read at the first access to
                the catalogue; a row is imported when it is first used.
        """
        self.kind = kind
        self._own = dict(rows)
        self._group = entry_points

    @functools.cached_property
    def _rows(self) -> dict[str, Callable[..., T]]:
        rows = dict(self._own)
        for point in importlib.metadata.entry_points(group=self._group) if self._group else ():
            if point.name in rows:
                owner = point.dist.name if point.dist else point.value
                raise ConfigError(f"the package {owner} registers the {self.kind} {point.name!r}, but this name is in "
                                  "use: rename it in that package, or remove the package")
            rows[point.name] = _EntryPointRow(self.kind, point)
        return rows

    def __getitem__(self, name: str) -> Callable[..., T]:
        """Returns the factory `name`. Imports it, if it comes from an entry point.

        Raises:
            ConfigError: The name is unknown (the message suggests the closest one), or the import fails.
        """
        try:
            row = self._rows[name]
        except KeyError:
            raise ConfigError(f"unknown {self.kind} {name!r}{_nearest(name, self._rows)}") from None
        return row.load() if isinstance(row, _EntryPointRow) else row

    def __contains__(self, name: object) -> bool:
        """Whether the name is in the catalogue. The method of Mapping would need a KeyError from `__getitem__`."""
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names, in the order of the rows."""
        return iter(self._rows)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def make(self, name: str, options: Mapping[str, Any] | None = None, **context: Any) -> T:
        """Creates the plug-in `name`.

        Args:
            name: Name of the row.
            options: The user's options.
            context: Arguments of the pipeline (seed, device, data, ...). Those that the factory does not accept are
                omitted, and a user cannot set them as options.

        Raises:
            ConfigError: A name or an option is unknown, or a required option is missing.
        """
        factory = self[name]
        accepted = inspect.signature(factory).parameters
        options = dict(options or {})
        own = [key for key in accepted if key not in context]
        for key in options:
            if key not in own:
                raise ConfigError(
                    f"{self.kind} {name!r} has no option {key!r}{_nearest(key, own)}; "
                    f"it has: {', '.join(own) or 'none'}"
                )
        missing = [
            key for key, parameter in accepted.items()
            if parameter.default is parameter.empty and key not in options and key not in context
        ]
        if missing:
            raise ConfigError(f"{self.kind} {name!r} needs the option {', '.join(missing)}")
        return factory(**options, **{key: value for key, value in context.items() if key in accepted})


class _EntryPointRow:
    """A row from an entry point; it is imported at its first use."""

    def __init__(self, kind: str, point: importlib.metadata.EntryPoint) -> None:
        self._kind = kind
        self._point = point

    def load(self) -> Callable[..., Any]:
        try:
            loaded = self._point.load()
        except Exception as error:  # the import of a third-party module can raise anything
            raise ConfigError(f"the {self._kind} {self._point.name!r} ({self._point.value}) cannot be imported: "
                              f"{error}; repair or remove the package that registers it") from error
        if not callable(loaded):
            raise ConfigError(f"the {self._kind} {self._point.name!r} ({self._point.value}) is not callable")
        return cast(Callable[..., Any], loaded)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.load()(*arguments, **options)


def _nearest(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {near[0]!r}?)" if near else f"; known: {', '.join(names)}"
