"""The policy of promotion: mlflow/promotion.yaml as frozen models, with the overrides of one target laid over."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import nas_pipeline
from nas_pipeline.errors import ConfigError

FILE = "mlflow/promotion.yaml"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
OfTarget = Literal["target"]
"""The bound that the target states in params.yaml."""


class _Section(BaseModel):
    """Frozen; every key is needed, and one that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Accuracy(_Section):
    """Lower bounds on the test images."""

    overall: Share | OfTarget
    balanced: Share
    recall: Share


class Calibration(_Section):
    """Upper bounds."""

    ece: Share


class Parity(_Section):
    """Lower bounds on top-1 agreement, by precision."""

    fp32: Share
    int8: Share


class Robustness(_Section):
    """Lower bounds on the share of accuracy that corrupted images leave."""

    mean_kept: Share
    worst_kept: Share


class Champion(_Section):
    """Not worse than the version in use; see `comparison`."""

    margin: Annotated[float, Field(gt=0, lt=1)]
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    min_images: Annotated[int, Field(ge=1)]
    when_unprovable: Literal["mcnemar", "refuse"]
    when_not_comparable: Literal["refuse", "accept"]


class Policy(_Section):
    """Bounds of one target."""

    accuracy: Accuracy
    calibration: Calibration
    parity: Parity
    int8_drop: Share
    size_bytes: Positive | OfTarget
    latency_p95_ms: Positive | OfTarget
    robustness: Robustness
    champion: Champion


def find_policy(root: Path) -> Path:
    """The policy of the project at `root`: its own, else that of a folder above, else the one beside this code.

    Above, because a workspace lies in its repository.

    Raises:
        ConfigError: There is none.
    """
    root = root.resolve()
    places = (root, *root.parents, Path(nas_pipeline.__file__).resolve().parents[1])
    found = next((place / FILE for place in places if (place / FILE).is_file()), None)
    if found is None:
        raise ConfigError(f"there is no {FILE} in {root} or above it: copy the one of the repository there")
    return found


def read_policy(path: Path, target: str) -> Policy:
    """The policy of `target`: the common bounds, and those of `targets` over them.

    Raises:
        ConfigError: Broken YAML, an unknown or missing key, or a value out of range; one line for each.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds no policy: it has to be a mapping with the keys {', '.join(_KEYS)}")
    own = value.pop("targets", None) or {}
    if not isinstance(own, dict):
        raise ConfigError(f"{path}: targets has to map names of targets to bounds")
    try:
        for name, bounds in {"": {}, **own}.items():  # those of other targets too: a typing error must not wait
            policy = Policy.model_validate(_over(value, bounds))
            if name in ("", target):
                chosen = policy
    except ValidationError as error:
        where = f", targets.{name}" if name else ""
        told = "\n  ".join(_explained(dict(item)) for item in error.errors())
        raise ConfigError(f"{path}{where} is not a policy of promotion:\n  {told}") from None
    return chosen


def _over(base: Any, top: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    return {**base, **{key: _over(base.get(key), value) for key, value in top.items()}}


def _explained(item: dict[str, Any]) -> str:
    place = [str(part) for part in item["loc"] if part not in ("float", "literal['target']")]
    key = ".".join(place) or "the file"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _KEYS, n=1)
        return f"{key}: there is no such key" + (f"; did you mean {near[0]}?" if near else "")
    return f"{key}: missing" if item["type"] == "missing" else f"{key}: {item['msg']}, got {item['input']!r:.80}"


_MODELS: list[type[_Section]] = _Section.__subclasses__()
_KEYS = sorted({name for model in _MODELS for name in model.model_fields})
