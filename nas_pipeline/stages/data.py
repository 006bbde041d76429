"""Ingest and validate."""

from __future__ import annotations

import logging

from nas_pipeline.data import SOURCES
from nas_pipeline.stages.context import Context

logger = logging.getLogger(__name__)


def run_ingest(context: Context) -> None:
    """Source -> shards, manifest, dataset.json."""
    from nas_pipeline.data.ingest import ingest

    data = context.params.data
    source = SOURCES.make(data.source.name, data.source.options)
    manifest = ingest(
        source, context.folder, val=data.val, calib=data.calib, test=data.test, limit=data.limit, seed=data.seed
    )
    counts = ", ".join(f"{split} {count:,}" for split, count in manifest.counts.items())
    logger.info("%s: %s images, digest %s", manifest.name, counts, manifest.digest[:12])


def run_validate(context: Context) -> None:
    """Manifest -> report and Data Docs, or a refusal."""
    from nas_pipeline.data.expectations import validate

    report = validate(context.artefacts("ingest"), context.folder, **context.params.validation.model_dump())
    warnings = report["warnings"]
    logger.info("%d expectations hold, %d warning(s)", len(report["expectations"]) - warnings, warnings)
