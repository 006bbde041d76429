"""Section `validation`: what the data has to satisfy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from nas_pipeline.config.schema.base import Count, Section, Share
from nas_pipeline.data.findings import findings as look_for
from nas_pipeline.errors import ConfigError


class FindingSettings(Section):
    """Level and bound of one finding; None: the default in `data.findings.FINDINGS`."""

    level: Literal["refuse", "warn", "off"] | None = None
    bound: float | None = None


class ValidationSection(Section):
    """What the data must satisfy before a network is trained on it."""

    min_per_class: Count = 20
    min_side: Count = 8
    max_side: Count = 4096
    max_class_drift: Share = 0.02
    findings: dict[str, FindingSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _are_findings(self) -> ValidationSection:
        try:
            look_for({name: row.model_dump() for name, row in self.findings.items()})
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self
