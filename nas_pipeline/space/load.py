"""From a genotype, or the file it lies in, to a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_pipeline.core.files import read_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space import SPACES
from nas_pipeline.space.choosers import replay

if TYPE_CHECKING:
    from torch import nn


def genotype_from_file(path: Path) -> Genotype:
    """The genotype in a JSON file, which is one or holds one under the key `genotype` (winner.json, bundle.json, ...).

    Raises:
        SpaceError: The file is missing or holds no genotype; the message names it.
    """
    try:
        value = read_json(path)
        return Genotype.from_json(value.get("genotype", value) if isinstance(value, dict) else value)
    except (OSError, ValueError, SpaceError) as error:
        raise SpaceError(f"no genotype can be read from {path}: {error}") from error


def build_network(genotype: Genotype, spec: InputSpec, options: Mapping[str, Any] | None = None) -> nn.Module:
    """The network of `genotype`, its weights drawn from torch's random state (seed it before).

    `options` are those of the space. They matter only where one is no decision (`zero_init`): decisions are open to
    every value that a search can have had.

    Raises:
        SpaceError: The space is unknown, or `genotype` is not one of its members.
    """
    if genotype.space not in SPACES:
        known = ", ".join(SPACES)
        raise SpaceError(f"genotype {genotype.id} is of the unknown space {genotype.space!r}; known: {known}")
    space = SPACES.make(genotype.space, options)
    network: nn.Module = space.build(replay(space, genotype), spec)
    return network
