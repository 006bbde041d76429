"""Section `fleet`: signed releases for devices."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from nas_pipeline.config.schema.base import Count, Positive, Section


class ExpiryDays(Section):
    """Days until signed metadata expires, by role; `releases`: the release lists."""

    root: Count = 365
    targets: Count = 90
    releases: Count = 90
    snapshot: Count = 7
    timestamp: Count = 7


class FleetSection(Section):
    """Signed releases for devices. Every target has its own release list."""

    store: str = "fleet/repository"
    keys: str = "fleet/keys"
    expiry_days: ExpiryDays = ExpiryDays()
    waves: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default_factory=lambda: [100, 500, 2500, 5000, 10_000]
    )
    approval: bool = False
    hardware: dict[str, list[str]] = Field(default_factory=dict)
    memory_mb: Positive = 256.0
    rollout: dict[str, Any] = Field(default_factory=dict)
    reports: str = "fleet/reports.db"
    """Database of the devices' reports: an SQLite file, or a URL. The variable NAS_REPORTS_URL overrides it."""
    drop: str | None = None
    """Folder, or s3://BUCKET/PREFIX, to which devices without a receiver write their reports."""

    @model_validator(mode="after")
    def _growing(self) -> FleetSection:
        if self.waves != sorted(set(self.waves)) or not self.waves or self.waves[-1] != 10_000:
            raise ValueError("waves must increase and end with 10000 (all devices): shares in 1/10,000 of the fleet")
        return self
