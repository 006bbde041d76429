"""A genotype: the ordered decisions that make one member of a search space, and their identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas_pipeline.core.files import canonical_json, sha256_text
from nas_pipeline.errors import SpaceError

Gene = str | int | float | bool
"""The value of one decision."""

_ID_HEX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Genotype:
    """The decisions of one architecture, in the order in which the space asked for them.

    `id` is equal on every machine and for isomorphic architectures, because a space asks only for decisions
    that matter: an inactive block leaves no genes.
    """

    space: str
    version: int
    genes: tuple[tuple[str, Gene], ...]

    @property
    def id(self) -> str:
        """First 12 hex digits of the sha256 of the canonical JSON."""
        return sha256_text(canonical_json(self.to_json()))[:_ID_HEX_DIGITS]

    def as_dict(self) -> dict[str, Gene]:
        """Decision name -> choice."""
        return dict(self.genes)

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        return {"space": self.space, "version": self.version, "genes": [list(gene) for gene in self.genes]}

    @classmethod
    def from_json(cls, value: Any) -> Genotype:
        """Read what `to_json` wrote.

        Raises:
            SpaceError: Keys or types are not those of a genotype.
        """
        if not isinstance(value, Mapping) or not {"space", "version", "genes"} <= set(value):
            raise SpaceError(f"not a genotype: expected the keys space, version and genes, got {value!r:.200}")
        if not isinstance(value["genes"], list | tuple):
            raise SpaceError(f"not a genotype: genes must be a list of pairs, got {value['genes']!r:.100}")
        genes: list[tuple[str, Gene]] = []
        for item in value["genes"]:
            if not isinstance(item, list | tuple) or len(item) != 2 or not isinstance(item[0], str):
                raise SpaceError(f"not a gene: {item!r:.100}; a gene is a pair [name, choice]")
            if not isinstance(item[1], str | int | float | bool):
                raise SpaceError(f"gene {item[0]!r} holds {item[1]!r:.100}; it must be a text, a number or true/false")
            genes.append((item[0], item[1]))
        if not isinstance(value["space"], str) or not isinstance(value["version"], int):
            raise SpaceError("not a genotype: space must be a text and version a whole number")
        return cls(value["space"], value["version"], tuple(genes))
