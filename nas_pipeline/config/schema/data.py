"""Section `data`: which images, and how they are split."""

from __future__ import annotations

from nas_pipeline.config.schema.base import Amount, Count, PlugIn, Section


class DataSection(Section):
    """Which images, and how they are split."""

    source: PlugIn
    val: Amount = 5000
    calib: Amount = 1000
    test: Amount = 0.2
    """Cut from the training images where the source has no test split."""
    limit: Count | None = None
    seed: int = 0
