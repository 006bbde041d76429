"""Plain data: canonical JSON, and dataclasses from plain data with a strict check of fields and types."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class WireError(ValueError):
    """A release or report is invalid; the message names the field."""


def canonical(value: Any) -> bytes:
    """Returns canonical JSON: sorted keys, no spaces, ASCII only. Equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def plain_from(content: bytes, what: str) -> Any:
    """Parses JSON.

    Args:
        content: The text.
        what: What the error message calls it.

    Raises:
        WireError: It is not JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WireError(f"{what} is not JSON: {error}") from error


def fraction(value: Any) -> Any:
    """Converts the text of a number to float; returns every other value unchanged."""
    number = isinstance(value, str) and re.fullmatch(r"\d{1,20}(\.\d{1,20})?(e-?\d{1,3})?", value)
    return float(value) if number else value


def record_from(kind: type[T], value: Any, where: str) -> T:
    """Creates a dataclass from plain data.

    Args:
        kind: The dataclass.
        value: A mapping with its fields.
        where: Name of the value in error messages.

    Raises:
        WireError: A field is missing, unknown or not of its declared type.
    """
    if not isinstance(value, Mapping):
        raise WireError(f"{where} is not a table")
    wanted = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # only dataclasses are passed
    if unknown := sorted(set(value) - set(wanted)):
        raise WireError(f"{where} has unknown fields {unknown!r:.120}: a newer agent may be needed")
    hints, values = get_type_hints(kind), {}
    for name, field in wanted.items():
        if name in value:
            values[name] = _typed(hints[name], value[name], f"{where}.{name}")
        elif field.default is MISSING:
            raise WireError(f"{where}.{name} is missing")
    return kind(**values)


def _typed(kind: Any, value: Any, where: str) -> Any:
    inner = get_args(kind)
    if is_dataclass(kind):
        return record_from(kind, value, where)  # type: ignore[arg-type]  # a class, not an instance
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or (inner[-1] is not ... and len(value) != len(inner)):
            raise WireError(f"{where} is not a list of the right length")
        return tuple(_typed(inner[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise WireError(f"{where} is not a table")
        return {str(key): _typed(inner[1], item, f"{where}.{key}"[:200]) for key, item in value.items()}
    if kind is Any:
        return value
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise WireError(f"{where} is not {kind.__name__}: {value!r:.60}")
    return value
