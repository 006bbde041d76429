"""Section `export`: which file ships."""

from __future__ import annotations

from typing import Literal

from nas_pipeline.config.schema.base import Section, Share


class ExportSection(Section):
    """Which file ships."""

    max_int8_drop: Share = 0.005
    min_agreement_fp32: Share = 0.999
    min_agreement_int8: Share = 0.98
    calibration: Literal["minmax", "percentile"] = "minmax"
