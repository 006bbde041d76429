"""Section `verify`: how latency is measured."""

from __future__ import annotations

from nas_pipeline.config.schema.base import Count, Positive, Section


class VerifySection(Section):
    """How latency is measured."""

    processes: Count = 5
    runs: Count = 400
    warmup: Count = 50
    max_spread: Positive = 0.25
    attempts: Count = 3
