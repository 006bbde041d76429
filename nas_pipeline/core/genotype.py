"""Genotypes: the ordered decisions that define one architecture of a search space, and their identity."""

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
    """The decisions of one architecture, in the order in which the space makes them.

    `id` is the same on every machine, and for isomorphic architectures: a space makes only relevant decisions, so an
    inactive block has no genes.

    Example:
        >>> genotype = Genotype("mbconv", 1, (("stem.width", 16), ("stage1.kernel", 3)))
        >>> genotype.as_dict()
        {'stem.width': 16, 'stage1.kernel': 3}
        >>> Genotype.from_json(genotype.to_json()) == genotype
        True
    """

    space: str
    version: int
    genes: tuple[tuple[str, Gene], ...]

    @property
    def id(self) -> str:
        """The first 12 hex digits of the sha256 of the canonical JSON."""
        return sha256_text(canonical_json(self.to_json()))[:_ID_HEX_DIGITS]

    def as_dict(self) -> dict[str, Gene]:
        """Returns decision name -> choice."""
        return dict(self.genes)

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, which `from_json` parses."""
        return {"space": self.space, "version": self.version, "genes": [list(gene) for gene in self.genes]}

    @classmethod
    def from_json(cls, value: Any) -> Genotype:
        """Parses the result of `to_json`.

        Raises:
            SpaceError: The value has wrong keys or types.
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
                raise SpaceError(f"gene {item[0]!r} holds {item[1]!r:.100}; it must be a string, a number or a boolean")
            genes.append((item[0], item[1]))
        if not isinstance(value["space"], str) or not isinstance(value["version"], int):
            raise SpaceError("not a genotype: space must be a string and version an integer")
        return cls(value["space"], value["version"], tuple(genes))
