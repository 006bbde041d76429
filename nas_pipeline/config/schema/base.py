"""The base class of the sections of params.yaml, and the types of their values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


def _amount(value: Any) -> int | float:
    if (type(value) is int and value >= 1) or (type(value) is float and 0 < value < 1):
        return value
    raise ValueError(f"a number of images (1 or more) or a share of them (like 0.15), got {value!r:.80}")


Amount = Annotated[int | float, PlainValidator(_amount)]
"""A number of images, or a share of them."""


class Section(BaseModel):
    """Base of all sections: frozen and strict; an undeclared key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PlugIn(Section):
    """A row of a catalogue with its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
