"""Loading genotypes from files, and building their networks."""

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
    """Read the genotype in a JSON file: the whole file, or its key `genotype` (winner.json, bundle.json, ...).

    Raises:
        SpaceError: The file is missing or has no genotype; the message names it.
    """
    try:
        value = read_json(path)
        return Genotype.from_json(value.get("genotype", value) if isinstance(value, dict) else value)
    except (OSError, ValueError, SpaceError) as error:
        raise SpaceError(f"no genotype can be read from {path}: {error}") from error


def build_network(genotype: Genotype, spec: InputSpec, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Build the network of `genotype`; weights are drawn from torch's random state, which the caller seeds.

    `options` are the options of the space. Only those that are not decisions matter (`zero_init`), because a genotype
    may hold any legal value of a decision.

    Raises:
        SpaceError: The space is unknown, or `genotype` is not a member of it.
    """
    if genotype.space not in SPACES:
        known = ", ".join(SPACES)
        raise SpaceError(f"genotype {genotype.id} is of the unknown space {genotype.space!r}; known: {known}")
    space = SPACES.make(genotype.space, options)
    network: nn.Module = space.build(replay(space, genotype), spec)
    return network
