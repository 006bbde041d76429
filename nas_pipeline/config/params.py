"""params.yaml: the only reader of the file. A wrong key or value is named with its remedy.

Packages never import this module: `stages.py` and the steps unpack it into keyword arguments.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from nas_pipeline.config.known_keys import known_keys, places_of
from nas_pipeline.config.schema import Params, ParetoAim
from nas_pipeline.errors import ConfigError

__all__ = ["Params", "ParetoAim", "compose", "load_params", "overlay", "parse_params", "read_yaml"]

_SCIENTIFIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


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
        merged = overlay(merged, parse_override(override))
    parse_params(merged, f"params.yaml with profile {profile}")
    return yaml.safe_dump(merged, sort_keys=False)


def parse_override(override: str) -> Any:
    """Returns `key.path=value` as nested mappings: `a.b=1` gives `{"a": {"b": 1}}`.

    Raises:
        ConfigError: `override` is not `key.path=value`, or the value is not YAML.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set takes key.path=value, for example search.budget.trials=10; got {override!r}")
    try:
        patch: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML: {error}") from None
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
    """Plain data from a YAML file.

    Raises:
        ConfigError: It is missing or broken; the message names line and column.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _OneOfEachKey)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; run this in the folder of the project") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; a file of that name belongs there: move the folder away") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 text") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None


class _OneOfEachKey(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys without a word; DVC refuses the file. So do we."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping of `node`.

        Raises:
            yaml.YAMLError: A key is there twice.
        """
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.value in seen and isinstance(key_node, yaml.ScalarNode):
                mark = key_node.start_mark
                raise yaml.YAMLError(f"line {mark.line + 1}, column {mark.column + 1}: the key {key_node.value!r} is "
                                     "there twice; take one of the two away")
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


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
