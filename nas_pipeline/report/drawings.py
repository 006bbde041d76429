"""What is shown of a candidate when a person points at it: its decisions, and its blocks with their costs."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from typing import Any

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import NasError
from nas_pipeline.report.progress import Trial

logger = logging.getLogger(__name__)

MOST_DRAWN = 48
"""Networks that get a drawing: each costs a twentieth of a second."""

Blocks = list[list[Any]]
"""[name, kind, output shape, parameters, MACs] per block."""


def blocks_of(trials: Sequence[Trial], spec: InputSpec) -> dict[str, Blocks]:
    """Genotype id -> blocks, for the first `MOST_DRAWN` different genotypes that can be built."""
    drawn: dict[str, Blocks] = {}
    for trial in trials:
        if len(drawn) >= MOST_DRAWN:
            break
        if trial.get("genotype") and trial["genotype_id"] not in drawn:
            try:
                drawn[trial["genotype_id"]] = _blocks(Genotype.from_json(trial["genotype"]), spec)
            except NasError as error:  # a space that is gone, or was widened by options
                logger.debug("no drawing of %s: %s", trial["genotype_id"], error)
    return drawn


def genes_of(trial: Trial) -> str:
    """The decisions in one line, grouped by the part of the network that they name."""
    parts: dict[str, list[str]] = {}
    for name, choice in (trial.get("genotype") or {}).get("genes", []):
        part, _, rest = str(name).rpartition(".")
        parts.setdefault(part, []).append(f"{rest} {choice}")
    return "; ".join((f"{part}: " if part else "") + ", ".join(genes) for part, genes in parts.items())


def cells_of(genotype: Genotype) -> str:
    """The graphs of its cells as a `data:` address of an SVG picture; empty for a network without cells."""
    from nas_pipeline.space.cell_graph import graphs_of

    try:
        if not graphs_of(genotype):
            return ""
        from nas_pipeline.space.cell_drawing import cells_svg

        return f"data:image/svg+xml;base64,{base64.b64encode(cells_svg(genotype)).decode()}"
    except NasError as error:
        logger.debug("no cells of %s: %s", genotype.id, error)
        return ""


def _blocks(genotype: Genotype, spec: InputSpec) -> Blocks:
    from nas_pipeline.space import SPACES

    if genotype.space not in SPACES:
        raise NasError(f"unknown space {genotype.space}")
    from nas_pipeline.space.drawing import layer_rows  # torch and matplotlib, only where something is drawn
    from nas_pipeline.space.load import build_network

    rows = layer_rows(build_network(genotype, spec), spec)
    return [[row.name, row.kind, "x".join(map(str, row.output_shape)), row.params, row.macs] for row in rows]
