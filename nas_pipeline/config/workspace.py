"""Workspaces: folders with their own params.yaml in which the same pipeline runs.

A workspace is a DVC repository of its own under `.nas/work/`. It shares the main repository's cache, so a stage that
ran in one is restored in the other. The code is reached through symbolic links, which DVC follows: an edit of the code
makes the same stages stale in every workspace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_pipeline.config.params import compose, overlay, parse_override
from nas_pipeline.core.files import canonical_json, sha256_text, write_text
from nas_pipeline.errors import ConfigError

WORK = Path(".nas", "work")
"""Folder of the workspaces, relative to the repository."""

_CODE = ("nas_pipeline", "edge_agent")
_COPIED = ("dvc.yaml", ".dvcignore")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def workspace_name(profile: str, overrides: Sequence[str] = ()) -> str:
    """Returns the name of the workspace for a profile and its `key.path=value` overrides.

    The name depends on the resulting settings, not on how they are written: the order of overrides with different
    keys, the spelling of a number and an override that a later one replaces do not change it.

    Example:
        >>> workspace_name("smoke")
        'smoke'

    Raises:
        ConfigError: An override is not `key.path=value`.
    """
    settings: Any = {}
    for override in overrides:
        settings = overlay(settings, parse_override(override))
    return f"{profile}-{sha256_text(canonical_json(_plain_numbers(settings)))[:8]}" if overrides else profile


def open_workspace(repo: Path, profile: str, overrides: Sequence[str] = ()) -> Path:
    """Returns the folder in which a profile with overrides runs: `repo` itself, or an up-to-date workspace.

    Raises:
        ConfigError: The profile or an override is wrong, or `repo` is not the pipeline's repository.
    """
    if profile == "default" and not overrides:
        return repo
    return prepare_workspace(repo, workspace_name(profile, overrides), compose(repo, profile, tuple(overrides)))


def prepare_workspace(repo: Path, name: str, params_text: str) -> Path:
    """Creates or updates the workspace `name` and returns its folder; unchanged files are not written.

    Args:
        repo: The folder that holds dvc.yaml, .dvc and the code.
        name: Lower-case letters, digits and dashes.
        params_text: Content of the workspace's params.yaml.

    Raises:
        ConfigError: The name is invalid, `repo` is not the repository, or a file stands where a link belongs.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"workspace {name!r}: use lower-case letters, digits and dashes only")
    repo = repo.resolve()
    missing = [part for part in (*_COPIED, ".dvc", *_CODE) if not (repo / part).exists()]
    if missing:
        raise ConfigError(f"{repo} is not the pipeline's repository: {', '.join(missing)} not found; run from its root")
    folder = repo / WORK / name
    texts = {file: (repo / file).read_text(encoding="utf-8") for file in _COPIED}
    texts |= {"params.yaml": params_text, ".dvc/config": _dvc_config(repo, folder)}
    for file, text in texts.items():
        _write_if_changed(folder / file, text)
    for package in _CODE:
        _link(folder / package, repo / package)
    return folder


def _plain_numbers(value: Any) -> Any:
    """Returns `value` as JSON data in which 10.0 is 10 and dates are text."""
    if isinstance(value, dict):
        return {str(key): _plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else repr(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _dvc_config(repo: Path, folder: Path) -> str:
    # DVC resolves a relative cache folder from the config file, so the repository can be moved.
    cache = os.path.relpath(repo / ".dvc" / "cache", folder / ".dvc")
    return (
        "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n    autostage = false\n"
        f"[cache]\n    dir = {cache}\n"
    )


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _link(path: Path, to: Path) -> None:
    target = os.path.relpath(to, path.parent)
    if path.is_symlink():
        if str(path.readlink()) == target:
            return
        path.unlink()
    elif path.exists():
        raise ConfigError(f"{path} is in the way: a link to the code belongs there; move it away")
    path.symlink_to(target, target_is_directory=True)
