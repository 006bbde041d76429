"""Stage `ingest`."""

from __future__ import annotations

import logging

from nas_pipeline.config.schema.data import DataSection
from nas_pipeline.data.sources import SOURCES
from nas_pipeline.stages.context import Context

logger = logging.getLogger(__name__)


def run_ingest(context: Context, *, data: DataSection) -> None:
    """Writes the shards, the manifest and dataset.json of the source."""
    from nas_pipeline.data.ingest import ingest

    source = SOURCES.make(data.source.name, data.source.options)
    manifest = ingest(
        source, context.folder, val=data.val, calib=data.calib, test=data.test, limit=data.limit, seed=data.seed
    )
    counts = ", ".join(f"{split} {count:,}" for split, count in manifest.counts.items())
    logger.info("%s: %s images, digest %s", manifest.name, counts, manifest.digest[:12])
