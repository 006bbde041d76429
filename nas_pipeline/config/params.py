"""Reads params.yaml, the only reader of the file. A wrong key or value is named with its remedy.

YAML is read by ruamel.yaml, as DVC does: both take `1e-3` for a number and `no` for a text, and both refuse a key that
is there twice.
"""

from __future__ import annotations

import difflib
import io
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from nas_pipeline.config.known_keys import known_keys, places_of
from nas_pipeline.config.schema.params import Params
from nas_pipeline.errors import ConfigError

__all__ = ["Params", "compose", "load_params", "overlay", "parse_params", "parse_yaml", "read_yaml"]


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
    try:
        return Params.model_validate(value)
    except ValidationError as error:
        lines = [_explain(dict(item)) for item in error.errors()]
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
        merged = overlay(merged, parse_override(override))
    parse_params(merged, f"params.yaml with profile {profile}")
    return dump_yaml(merged)


def parse_override(override: str) -> Any:
    """Returns `key.path=value` as nested mappings: `a.b=1` gives `{"a": {"b": 1}}`.

    Raises:
        ConfigError: `override` is not `key.path=value`, or the value is not YAML.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set takes key.path=value, for example search.budget.trials=10; got {override!r}")
    patch = parse_yaml(text, f"--set {override}: the value")
    for part in reversed(key.split(".")):
        patch = {part: patch}
    return patch


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
    """Returns plain data from a YAML file.

    Raises:
        ConfigError: It is missing or broken; the message names line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; run this in the folder of the project") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; a file of that name belongs there: move the folder away") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 text") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, origin: str) -> Any:
    """Returns plain data from YAML text; `origin` is named in the messages.

    Raises:
        ConfigError: It is not YAML, or a key is there twice; the message names line and column.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        mark = error.problem_mark
        raise ConfigError(f"{origin} is not YAML: line {mark.line + 1}, column {mark.column + 1}: a key is there "
                          "twice; remove one of the two") from None
    except YAMLError as error:
        raise ConfigError(f"{origin} is not YAML: {error}") from None


def dump_yaml(value: Any) -> str:
    """Returns plain data as YAML text, keys in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its declared type is None
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _explain(item: dict[str, Any]) -> str:
    place = [str(part) for part in item["loc"] if part not in ("pareto", "weighted")]
    key = ".".join(place) or "the file"
    if item["type"] == "extra_forbidden":
        return f"{key}: there is no such key{_nearest(place)}"
    if item["type"] == "missing":
        return f"{key}: missing"
    if item["type"] == "value_error":
        return f"{key}: {item['ctx']['error']}"
    return f"{key}: {item['msg']}, got {item['input']!r:.80}"


def _nearest(place: list[str]) -> str:
    """The key that was meant: one of the same section, else one of another, else all that the section has."""
    *way, wrong = place
    own = known_keys(way)
    if near := difflib.get_close_matches(wrong, own, n=1):
        return f"; did you mean {near[0]}?"
    if elsewhere := places_of(wrong):
        return f"; did you mean {' or '.join(elsewhere)}?"
    where = ".".join(way) or "the file"
    return f"; {where} has: {', '.join(own)}" if own else ""
