"""The whole of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from nas_pipeline.config.schema.base import Section
from nas_pipeline.config.schema.data import DataSection
from nas_pipeline.config.schema.export import ExportSection
from nas_pipeline.config.schema.fleet import FleetSection
from nas_pipeline.config.schema.retrain import RetrainSection
from nas_pipeline.config.schema.search import SearchSection
from nas_pipeline.config.schema.targets import TargetSection
from nas_pipeline.config.schema.train import TrainSection
from nas_pipeline.config.schema.validation import ValidationSection
from nas_pipeline.config.schema.verify import VerifySection


class Params(Section):
    """The whole file."""

    data: DataSection
    validation: ValidationSection = ValidationSection()
    train: TrainSection = TrainSection()
    search: SearchSection
    retrain: RetrainSection
    export: ExportSection = ExportSection()
    verify: VerifySection = VerifySection()
    fleet: FleetSection | None = None
    targets: dict[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")], TargetSection]

    @model_validator(mode="after")
    def _some_target(self) -> Params:
        if not self.targets:
            raise ValueError("targets is empty: name at least one device class with its bounds")
        return self
