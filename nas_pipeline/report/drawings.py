"""The details that the page shows of one candidate: its decisions, its blocks with their costs, its cells."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from typing import Any

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import NasError
from nas_pipeline.report.progress import SearchTrial

logger = logging.getLogger(__name__)

MAX_DRAWN = 48
"""Largest number of networks with a drawing: each takes about 50 ms."""

Blocks = list[list[Any]]
"""[name, kind, output shape, parameters, MACs] per block."""


def blocks_of(trials: Sequence[SearchTrial], spec: InputSpec) -> dict[str, Blocks]:
    """Returns genotype id -> blocks, for the first `MAX_DRAWN` distinct genotypes that can be built."""
    drawn: dict[str, Blocks] = {}
    for trial in trials:
        if len(drawn) >= MAX_DRAWN:
            break
        if trial.get("genotype") and trial["genotype_id"] not in drawn:
            try:
                drawn[trial["genotype_id"]] = _blocks(Genotype.from_json(trial["genotype"]), spec)
            except NasError as error:  # a space that no longer exists, or that was extended by options
                logger.debug("no drawing of %s: %s", trial["genotype_id"], error)
    return drawn


def genes_of(trial: SearchTrial) -> str:
    """Returns the decisions in one line, grouped by the part of the network."""
    parts: dict[str, list[str]] = {}
    for name, choice in (trial.get("genotype") or {}).get("genes", []):
        part, _, rest = str(name).rpartition(".")
        parts.setdefault(part, []).append(f"{rest} {choice}")
    return "; ".join((f"{part}: " if part else "") + ", ".join(genes) for part, genes in parts.items())


def cells_of(genotype: Genotype) -> str:
    """Returns the graphs of the cells as a `data:` URI of an SVG image; empty for a network without cells."""
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
    from nas_pipeline.space.drawing import layer_rows  # imports torch and matplotlib: only where something is drawn
    from nas_pipeline.space.load import build_network

    rows = layer_rows(build_network(genotype, spec), spec)
    return [[row.name, row.kind, "x".join(map(str, row.output_shape)), row.params, row.macs] for row in rows]
