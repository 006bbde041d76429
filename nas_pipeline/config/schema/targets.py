"""Section `targets`: device classes and their bounds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nas_pipeline.config.schema.base import Count, Positive, Section, Share
from nas_pipeline.core.records import TargetDevice


class TargetSection(Section):
    """A device class and its bounds."""

    probe: str
    latency_ms: Positive
    size_bytes: Count
    min_accuracy: Share
    threads: Count = 1
    precision: Literal["auto", "fp32", "int8"] = "auto"
    opset: int = Field(default=20, ge=18, le=24)
    host_factor: Positive = 1.0
    options: dict[str, str] = Field(default_factory=dict)
    """Options of the probe beside those of `verify`, such as the `url` of the agent."""

    def device(self, name: str) -> TargetDevice:
        """Returns the target as the record that the packages use."""
        return TargetDevice(name=name, **self.model_dump(exclude={"options"}))
