"""The promotion policy: mlflow/promotion.yaml as frozen models, with the overrides of one target applied."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import nas_pipeline
from nas_pipeline.errors import ConfigError

FILE = "mlflow/promotion.yaml"

UnitShare = Annotated[float, Field(ge=0, le=1)]
"""A share from 0 to 1."""
PositiveBound = Annotated[float, Field(gt=0)]
"""A bound above 0."""
TargetBound = Literal["target"]
"""Stands for the bound of the target in params.yaml."""


class _Section(BaseModel):
    """Base of the sections: frozen, every key is required, an undeclared key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AccuracyBounds(_Section):
    """Lower bounds on the test images."""

    overall: UnitShare | TargetBound
    balanced: UnitShare
    recall: UnitShare


class CalibrationBounds(_Section):
    """Upper bounds on calibration errors."""

    ece: UnitShare


class ParityBounds(_Section):
    """Lower bounds on top-1 agreement, by precision."""

    fp32: UnitShare
    int8: UnitShare


class RobustnessBounds(_Section):
    """Lower bounds on accuracy on corrupted images, as a share of that on the clean images."""

    mean_kept: UnitShare
    worst_kept: UnitShare


class ChampionComparison(_Section):
    """Settings of the paired comparison with the champion; see `comparison`."""

    margin: Annotated[float, Field(gt=0, lt=1)]
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    min_images: Annotated[int, Field(ge=1)]
    when_unprovable: Literal["mcnemar", "refuse"]
    when_not_comparable: Literal["refuse", "accept"]


class Policy(_Section):
    """The bounds of one target."""

    accuracy: AccuracyBounds
    calibration: CalibrationBounds
    parity: ParityBounds
    int8_drop: UnitShare
    size_bytes: PositiveBound | TargetBound
    latency_p95_ms: PositiveBound | TargetBound
    robustness: RobustnessBounds
    champion: ChampionComparison


def find_policy(root: Path) -> Path:
    """Returns the policy file of the project at `root`.

    The folder itself is searched first, then its parents (a workspace is inside its repository), then the repository of
    this code.

    Raises:
        ConfigError: There is none.
    """
    root = root.resolve()
    folders = (root, *root.parents, Path(nas_pipeline.__file__).resolve().parents[1])
    path = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if path is None:
        raise ConfigError(f"there is no {FILE} in {root} or in a folder above it: copy the one of the repository there")
    return path


def read_policy(path: Path, target: str) -> Policy:
    """Returns the policy of `target`: the common bounds, overridden by those under `targets`.

    Raises:
        ConfigError: The YAML is not valid, a key is unknown or missing, or a value is out of range; one line
            for each error.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is not a policy: it must be a mapping with the keys {', '.join(_KEYS)}")
    own = value.pop("targets", None) or {}
    if not isinstance(own, dict):
        raise ConfigError(f"{path}: targets must map names of targets to bounds")
    try:
        for name, bounds in {"": {}, **own}.items():  # other targets too: an error in them is reported now
            policy = Policy.model_validate(_override(value, bounds))
            if name in ("", target):
                chosen = policy
    except ValidationError as error:
        where = f", targets.{name}" if name else ""
        lines = "\n  ".join(_explained(dict(item)) for item in error.errors())
        raise ConfigError(f"{path}{where} is not a promotion policy:\n  {lines}") from None
    return chosen


def _override(base: Any, top: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    return {**base, **{key: _override(base.get(key), value) for key, value in top.items()}}


def _explained(item: dict[str, Any]) -> str:
    location = [str(part) for part in item["loc"] if part not in ("float", "literal['target']")]
    key = ".".join(location) or "the file"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _KEYS, n=1)
        return f"{key}: there is no such key" + (f"; did you mean {near[0]}?" if near else "")
    return f"{key}: missing" if item["type"] == "missing" else f"{key}: {item['msg']}, got {item['input']!r:.80}"


_MODELS: list[type[_Section]] = _Section.__subclasses__()
_KEYS = sorted({name for model in _MODELS for name in model.model_fields})
