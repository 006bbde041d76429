"""The keys that params.yaml may have, read off the models of the schema; messages about unknown keys name them."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from nas_pipeline.config.schema.base import Section
from nas_pipeline.config.schema.params import Params


def known_keys(way: Sequence[str] = ()) -> list[str]:
    """The keys of the section at `way`, for example `("search", "budget")`; none where names are the user's own."""
    kinds: list[Any] = [Params]
    for part in way:
        kinds = [below for kind in kinds for below in _below(kind, part)]
    return sorted({name for kind in kinds if _is_section(kind) for name in kind.model_fields})


def places_of(key: str, way: tuple[str, ...] = ()) -> list[str]:
    """Every dotted place below `way` where a section has a key of that name."""
    places: list[str] = []
    for name in known_keys(way):
        if name == key:
            places.append(".".join((*way, name)))
        places += places_of(key, (*way, name))
    return places


def _below(kind: Any, part: str) -> list[Any]:
    if _is_section(kind):
        field = kind.model_fields.get(part)
        return _alternatives(field.annotation) if field else []
    return _alternatives(get_args(kind)[1]) if get_origin(kind) is dict else []


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, UnionType):
        return [kind for each in get_args(annotation) for kind in _alternatives(each)]
    return _alternatives(get_args(annotation)[0]) if get_origin(annotation) is Annotated else [annotation]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)
