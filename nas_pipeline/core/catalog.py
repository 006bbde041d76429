"""A catalogue: a table name -> plug-in, which makes plug-ins from names and options in params.yaml."""

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
    """Names of one kind of plug-in. Defaults of a plug-in live in its constructor, nowhere else."""

    def __init__(self, kind: str, rows: Mapping[str, Callable[..., T]], entry_points: str | None = None) -> None:
        """`kind` is the word used in messages: strategy, space, source, ...

        `entry_points` is the group in which installed packages of others offer rows of their own. They are looked up
        when the table is first asked, and imported when one of them is taken.
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
                raise ConfigError(f"the package {owner} offers the {self.kind} {point.name!r}, a name that is taken; "
                                  "rename it in that package, or remove the package")
            rows[point.name] = _Later(self.kind, point)
        return rows

    def __getitem__(self, name: str) -> Callable[..., T]:
        """The factory of that name.

        Raises:
            ConfigError: There is none; the nearest name is offered.
        """
        try:
            row = self._rows[name]
        except KeyError:
            raise ConfigError(f"unknown {self.kind} {name!r}{_nearest(name, self._rows)}") from None
        return row.load() if isinstance(row, _Later) else row

    def __contains__(self, name: object) -> bool:
        """Whether there is such a row; Mapping's own answer would need a KeyError from `__getitem__`."""
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        """Names in the order of the table."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def make(self, name: str, options: Mapping[str, Any] | None = None, **given: Any) -> T:
        """Build the plug-in `name` from `options` (the user's) and `given` (the pipeline's own arguments).

        `given` arguments that the constructor does not ask for are left out.

        Raises:
            ConfigError: Unknown name, unknown option or missing option.
        """
        factory = self[name]
        accepted = inspect.signature(factory).parameters
        options = dict(options or {})
        own = [key for key in accepted if key not in given]
        for key in options:
            if key not in own:
                raise ConfigError(
                    f"{self.kind} {name!r} has no option {key!r}{_nearest(key, own)}; "
                    f"it has: {', '.join(own) or 'none'}"
                )
        missing = [
            key for key, parameter in accepted.items()
            if parameter.default is parameter.empty and key not in options and key not in given
        ]
        if missing:
            raise ConfigError(f"{self.kind} {name!r} needs the option {', '.join(missing)}")
        return factory(**options, **{key: value for key, value in given.items() if key in accepted})


class _Later:
    """A row of another package, not imported yet."""

    def __init__(self, kind: str, point: importlib.metadata.EntryPoint) -> None:
        self._kind = kind
        self._point = point

    def load(self) -> Callable[..., Any]:
        try:
            loaded = self._point.load()
        except Exception as error:  # whatever the import of a stranger's module raises
            raise ConfigError(f"the {self._kind} {self._point.name!r} ({self._point.value}) cannot be imported: "
                              f"{error}; mend or remove the package that offers it") from error
        if not callable(loaded):
            raise ConfigError(f"the {self._kind} {self._point.name!r} ({self._point.value}) is no class or function")
        return cast(Callable[..., Any], loaded)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.load()(*arguments, **options)


def _nearest(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {near[0]!r}?)" if near else f"; known: {', '.join(names)}"
