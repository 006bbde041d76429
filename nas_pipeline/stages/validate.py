"""Stage `validate`."""

from __future__ import annotations

import logging

from nas_pipeline.config.schema.validation import ValidationSection
from nas_pipeline.stages.context import Context

logger = logging.getLogger(__name__)


def run_validate(context: Context, *, validation: ValidationSection) -> None:
    """Validates the manifest; writes the report and the Data Docs.

    Raises:
        DataRefusal: An expectation does not hold.
    """
    from nas_pipeline.data.expectations import validate

    report = validate(context.artefacts("ingest"), context.folder, **validation.model_dump())
    warnings = report["warnings"]
    logger.info("%d expectations hold, %d warning(s)", len(report["expectations"]) - warnings, warnings)
