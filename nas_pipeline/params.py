"""params.yaml as frozen models: the only reader of the file. A wrong key or value is named with its remedy.

Packages never import this module: `stages.py` unpacks it into keyword arguments.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.core.records import TargetDevice
from nas_pipeline.errors import ConfigError
from nas_pipeline.train.recipe import Recipe

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

_SCIENTIFIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


class Section(BaseModel):
    """Frozen; a key that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PlugIn(Section):
    """A row of a catalogue with its options."""

    name: str
    options: dict[str, Any] = {}


class Data(Section):
    """Which images, and how they are split."""

    source: PlugIn
    val: Count = 5000
    calib: Count = 1000
    limit: Count | None = None
    seed: int = 0


class Validation(Section):
    """What the data has to satisfy before anything is trained on it."""

    min_per_class: Count = 20
    min_side: Count = 8
    max_side: Count = 4096
    max_class_drift: Share = 0.02


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
    min_agreement: Share = 0.99
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

    def device(self, name: str) -> TargetDevice:
        """As the record that packages speak."""
        return TargetDevice(name=name, **self.model_dump())


class Params(Section):
    """The whole file."""

    data: Data
    validation: Validation = Validation()
    train: Train = Train()
    search: Search
    retrain: Retrain
    export: Export = Export()
    verify: Verify = Verify()
    targets: dict[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")], Target]

    @model_validator(mode="after")
    def _some_target(self) -> Params:
        if not self.targets:
            raise ValueError("targets is empty: name at least one device class with its bounds")
        return self


def load_params(root: Path) -> Params:
    """The parameters in `root`/params.yaml.

    Raises:
        ConfigError: No such file, broken YAML, or wrong keys and values: one line for each.
    """
    path = root / "params.yaml"
    return parse_params(read_yaml(path), str(path))


def parse_params(value: Any, origin: str) -> Params:
    """Check plain data against the models; `origin` is named in the messages."""
    if not isinstance(value, dict):
        raise ConfigError(f"{origin} must hold a mapping of sections, not {type(value).__name__}")
    texts = dict(_texts_for_numbers(value))
    lines = [f"{key}: YAML takes {text} for a text; write {Decimal(text):f}" for key, text in texts.items()]
    try:
        params = Params.model_validate(value)
    except ValidationError as error:
        lines += [line for line in map(_explain, map(dict, error.errors())) if line.partition(":")[0] not in texts]
    else:
        if not lines:
            return params
    raise ConfigError(f"{origin} has {len(lines)} error(s):\n" + "\n".join(f"  {line}" for line in lines))


def compose(root: Path, profile: str, overrides: tuple[str, ...] = ()) -> str:
    """params.yaml with a profile of profiles/ laid over it and `key.path=value` overrides on top, as YAML text.

    Raises:
        ConfigError: An unknown profile, or an override that is not `key.path=value`.
    """
    merged = read_yaml(root / "params.yaml")
    if profile != "default":
        known = sorted(path.stem for path in (root / "profiles").glob("*.yaml"))
        if profile not in known:
            raise ConfigError(f"unknown profile {profile!r}; profiles/ has: default, {', '.join(known)}")
        merged = overlay(merged, read_yaml(root / "profiles" / f"{profile}.yaml") or {})
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set takes key.path=value, for example search.budget.trials=10; got {override!r}")
        try:
            patch: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override}: the value is not YAML: {error}") from None
        for part in reversed(key.split(".")):
            patch = {part: patch}
        merged = overlay(merged, patch)
    parse_params(merged, f"params.yaml with profile {profile}")
    return yaml.safe_dump(merged, sort_keys=False)


def overlay(base: Any, top: Any) -> Any:
    """`top` over `base`: mappings merge key by key, all else is replaced.

    A plug-in of another name, or an aim of another kind, starts from no options: those of the one it replaces are
    not its own.
    """
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    if any(tag in top and tag in base and top[tag] != base[tag] for tag in ("name", "kind")):
        base = {}
    return {**base, **{key: overlay(base.get(key), value) for key, value in top.items()}}


def read_yaml(path: Path) -> Any:
    """Plain data from a YAML file.

    Raises:
        ConfigError: It is missing or broken; the message names line and column.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; run this in the folder of the project") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None


def _texts_for_numbers(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Key and text of every number like 1e-3: YAML 1.1 wants a point and a sign, else it is a text."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts_for_numbers(item, (*place, str(key)))
    elif isinstance(value, str) and _SCIENTIFIC.fullmatch(value):
        yield ".".join(place), value


def _explain(item: dict[str, Any]) -> str:
    place = [str(part) for part in item["loc"] if part not in ("pareto", "weighted")]
    key = ".".join(place) or "the file"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _known_keys(), n=1)
        return f"{key}: there is no such key" + (f"; did you mean {near[0]}?" if near else "")
    if item["type"] == "missing":
        return f"{key}: missing"
    if item["type"] == "value_error":
        return f"{key}: {item['ctx']['error']}"
    return f"{key}: {item['msg']}, got {item['input']!r:.80}"


def _known_keys() -> list[str]:
    models: list[type[Section]] = [Params, *Section.__subclasses__()]
    return sorted({name for model in models for name in model.model_fields})
