"""The sections of params.yaml as frozen models. Reading, overlays and messages are `params.py`'s."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.core.records import TargetDevice
from nas_pipeline.data.findings import findings as look_for
from nas_pipeline.errors import ConfigError
from nas_pipeline.train.recipe import Recipe

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


def _amount(value: Any) -> int | float:
    if (type(value) is int and value >= 1) or (type(value) is float and 0 < value < 1):
        return value
    raise ValueError(f"a number of images (1 or more) or a share of them (like 0.15), got {value!r:.80}")


Amount = Annotated[int | float, PlainValidator(_amount)]
"""A number of images, or a share of them."""


class Section(BaseModel):
    """Frozen; a key that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PlugIn(Section):
    """A row of a catalogue with its options."""

    name: str
    options: dict[str, Any] = {}


class Data(Section):
    """Which images, and how they are split."""

    source: PlugIn
    val: Amount = 5000
    calib: Amount = 1000
    test: Amount = 0.2
    """Cut from the training images where the source has no test split."""
    limit: Count | None = None
    seed: int = 0


class Finding(Section):
    """What becomes of a data set in which something is found; None: as in `data.findings.FINDINGS`."""

    level: Literal["refuse", "warn", "off"] | None = None
    bound: float | None = None


class Validation(Section):
    """What the data has to satisfy before anything is trained on it."""

    min_per_class: Count = 20
    min_side: Count = 8
    max_side: Count = 4096
    max_class_drift: Share = 0.02
    findings: dict[str, Finding] = {}

    @model_validator(mode="after")
    def _are_findings(self) -> Validation:
        try:
            look_for({name: row.model_dump() for name, row in self.findings.items()})
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self


class Train(Section):
    """Shared by search and retrain."""

    recipe: dict[str, Any] = {}
    device: str = "auto"

    @model_validator(mode="after")
    def _is_a_recipe(self) -> Train:
        try:
            self.as_recipe()
        except (ConfigError, TypeError) as error:
            raise ValueError(str(error)) from None
        return self

    def as_recipe(self) -> Recipe:
        """As the record that packages speak."""
        return Catalog("key", {"train.recipe": Recipe}).make("train.recipe", self.recipe)


class SearchBudget(Section):
    """Bounds of a search; the first that is reached ends it."""

    trials: Count | None = None
    wall_s: Positive | None = None
    device_s: Positive | None = None

    @model_validator(mode="after")
    def _bounded(self) -> SearchBudget:
        if self.trials is None and self.wall_s is None and self.device_s is None:
            raise ValueError("give at least one of trials, wall_s, device_s: a search has to end")
        return self


class ParetoAim(Section):
    """Several objectives at once."""

    kind: Literal["pareto"] = "pareto"
    objectives: dict[str, Literal["maximize", "minimize"]] = {
        "val_accuracy": "maximize", "latency_ms": "minimize", "size_bytes": "minimize",
    }

    @model_validator(mode="after")
    def _some_objective(self) -> ParetoAim:
        if not self.objectives:
            raise ValueError("objectives is empty: name at least one metric with maximize or minimize")
        return self


class WeightedAim(Section):
    """One cost: error and excess over the bounds, weighted. Only here early stopping is possible."""

    kind: Literal["weighted"]
    accuracy: Positive = 1.0
    latency: float = Field(default=0.1, ge=0)
    params: float = Field(default=0.1, ge=0)
    early_stopping: Literal["none", "median", "asha"] = "median"


class Finalists(Section):
    """The best candidates are scored again with a longer training, which decides; count 0 turns it off."""

    count: int = Field(default=4, ge=0)
    options: dict[str, Any] = {}


class Search(Section):
    """How the search goes."""

    space: PlugIn
    strategy: PlugIn
    evaluator: PlugIn
    aim: Annotated[ParetoAim | WeightedAim, Field(discriminator="kind")] = ParetoAim()
    budget: SearchBudget
    finalists: Finalists = Finalists()
    random_baseline: Literal["auto", "always", "never"] = "auto"
    """Random search of the same cost beside the search; `auto`: where the strategy derives its candidates."""
    latency_headroom: Annotated[float, Field(gt=0, le=1)] = 0.7
    """The search aims at this share of the bound: it sees medians, the gate judges p95."""
    latency_runs: Count = 40
    workers: Count = 2
    seed: int = 0
    storage: str | None = None


class Retrain(Section):
    """Full training of the winner."""

    seeds: Count = 3
    device_s: Positive | None = None
    epochs: Positive | None = None
    workers: Count = 2
    baselines: list[str] = []

    @model_validator(mode="after")
    def _one_budget(self) -> Retrain:
        if (self.device_s is None) == (self.epochs is None):
            raise ValueError("give exactly one of device_s and epochs")
        return self


class Export(Section):
    """Which file ships."""

    max_int8_drop: Share = 0.005
    min_agreement_fp32: Share = 0.999
    min_agreement_int8: Share = 0.98
    calibration: Literal["minmax", "percentile"] = "minmax"


class Verify(Section):
    """How latency is measured."""

    processes: Count = 5
    runs: Count = 400
    warmup: Count = 50
    max_spread: Positive = 0.25
    attempts: Count = 3


class Target(Section):
    """A device class and its bounds."""

    probe: str
    latency_ms: Positive
    size_bytes: Count
    min_accuracy: Share
    threads: Count = 1
    precision: Literal["auto", "fp32", "int8"] = "auto"
    opset: int = Field(default=20, ge=18, le=24)
    host_factor: Positive = 1.0
    options: dict[str, str] = {}
    """Of the probe, beyond those of `verify`: the `url` of the agent."""

    def device(self, name: str) -> TargetDevice:
        """As the record that packages speak."""
        return TargetDevice(name=name, **self.model_dump(exclude={"options"}))


class ExpiryDays(Section):
    """How long a signature counts, by role; `releases`: the lists of releases."""

    root: Count = 365
    targets: Count = 90
    releases: Count = 90
    snapshot: Count = 7
    timestamp: Count = 7


class Fleet(Section):
    """Signed releases for devices; every target is a target of devices."""

    store: str = "fleet/repository"
    keys: str = "fleet/keys"
    expiry_days: ExpiryDays = ExpiryDays()
    waves: list[Annotated[int, Field(ge=1, le=10_000)]] = [100, 500, 2500, 5000, 10_000]
    approval: bool = False
    hardware: dict[str, list[str]] = {}
    memory_mb: Positive = 256.0
    rollout: dict[str, Any] = {}
    reports: str = "fleet/reports.db"
    """Database of the devices' reports: an SQLite file, or a URL; NAS_REPORTS_URL in the environment goes before."""
    drop: str | None = None
    """Where devices without a receiver leave their reports: a folder, or s3://BUCKET/PREFIX."""

    @model_validator(mode="after")
    def _growing(self) -> Fleet:
        if self.waves != sorted(set(self.waves)) or not self.waves or self.waves[-1] != 10_000:
            raise ValueError("waves have to grow, and to end with 10000 (all devices): shares in 1/10,000 of the fleet")
        return self


class Params(Section):
    """The whole file."""

    data: Data
    validation: Validation = Validation()
    train: Train = Train()
    search: Search
    retrain: Retrain
    export: Export = Export()
    verify: Verify = Verify()
    fleet: Fleet | None = None
    targets: dict[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")], Target]

    @model_validator(mode="after")
    def _some_target(self) -> Params:
        if not self.targets:
            raise ValueError("targets is empty: name at least one device class with its bounds")
        return self
